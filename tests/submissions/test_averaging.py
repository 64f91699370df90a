"""Averaged weights: what evaluations see, and that training does not notice."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tiny_workloads import INPUTS, TinyJax, TinyTorch, batches

from algoperf_api import jax_sharding_utils

DECAY, MOMENTUM = 0.6, 0.75
GIVEN = {"learning_rate": 0.05, "weight_decay": 0.1, "horizon": "clock"}


class CentredJax(TinyJax):
    """Inputs are centred by a running mean, which is the model state."""

    def init_model_fn(self):
        state = {"batch_stats": {"mean": np.zeros(INPUTS, self.dtype)}}
        self.state = jax_sharding_utils.replicate(jax.tree.map(jnp.asarray, state))
        return super().init_model_fn()

    def model_fn(self, params, batch, model_state, mode, rng, update_batch_norm, dropout_rate=0.0):
        mean = model_state["batch_stats"]["mean"]
        inputs = batch["inputs"] - mean
        new = {"batch_stats": {"mean": MOMENTUM * mean + (1 - MOMENTUM) * batch["inputs"].mean(0)}}
        logits, _ = super().model_fn(params, batch | {"inputs": inputs}, None, mode, rng, True)
        return logits, new if update_batch_norm else model_state

    def flat_all(self, params, model_state):
        return self.flat(params) | {"mean": np.asarray(model_state["batch_stats"]["mean"])}


class _Centre(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.register_buffer("mean", torch.zeros(INPUTS, dtype=dtype))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs):
        centred = inputs - self.mean
        if self.training:
            with torch.no_grad():
                # A new tensor in the buffer's place, as in AlgoPerf's speech models.
                self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * inputs.mean(0)
                self.seen.add_(1)
        return centred


class CentredTorch(TinyTorch):
    state = None

    def init_model_fn(self):
        model = super().init_model_fn()
        return torch.nn.Sequential().extend([_Centre(model[0].weight.dtype), *model])

    @property
    def model_params_types(self):
        names = {"1": "hidden", "3": "decoder"}
        return {
            name.replace(new, old): kind
            for name, kind in self.kinds.items()
            for old, new in names.items()
            if name.startswith(new)
        }

    @model_params_types.setter
    def model_params_types(self, kinds):
        self.kinds = kinds

    def is_output_params(self, key):
        return key.startswith("3.")

    def flat_all(self, params, model_state):
        tensors = params.state_dict()
        names = {"1.": "hidden.", "3.": "decoder.", "0.": ""}
        return {
            names[name[:2]] + name[2:]: tensor.clone().numpy()
            for name, tensor in tensors.items()
            if name != "0.seen"
        }


WORKLOADS: dict[str, Any] = {"jax": CentredJax, "pytorch": CentredTorch}


class Training:
    """A submission that trains step by step."""

    def __init__(self, name, framework, dtype=np.float64, **given):
        self.module = importlib.import_module(f"submissions.{name}.{framework}.submission")
        self.workload = WORKLOADS[framework](dtype)
        self.rng = jax.random.PRNGKey(0) if framework == "jax" else [0, 0]
        self.params = self.workload.init_model_fn()
        self.model_state = self.workload.state
        self.hyperparameters = GIVEN | given
        self.state = self.module.init_optimizer_state(
            self.workload, self.params, self.model_state, self.hyperparameters, self.rng
        )
        self.stream = batches(seed=1, dtype=dtype)
        self.step_number = 0

    def _common(self):
        return {
            "workload": self.workload,
            "current_param_container": self.params,
            "current_params_types": self.workload.model_params_types,
            "model_state": self.model_state,
            "hyperparameters": self.hyperparameters,
            "loss_type": self.workload.loss_type,
            "optimizer_state": self.state,
            "eval_results": [],
            "global_step": self.step_number,
            "rng": self.rng,
        }

    def step(self):
        batch = next(self.stream)
        self.state, self.params, self.model_state = self.module.update_params(
            batch=batch, train_state=None, **self._common()
        )
        self.step_number += 1
        return self.tensors()

    def prepare(self):
        self.state, self.params, self.model_state = self.module.prepare_for_eval(**self._common())
        return self.tensors()

    def tensors(self):
        return self.workload.flat_all(self.params, self.model_state)


def assert_equal(actual, wanted, **tolerance):
    assert actual.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(actual[key], value, err_msg=key, **tolerance)


@pytest.mark.parametrize("framework", WORKLOADS)
@pytest.mark.parametrize("name", ["adamw", "asgo"])
def test_evaluations_see_the_average_and_training_does_not(x64, name, framework):
    plain = Training(name, framework)
    averaged = Training(name, framework, ema_decay=DECAY)
    wanted: dict[str, Any] = {}
    for step in range(1, 9):
        trained = plain.step()
        weight = max(1 - DECAY, 1 / step)
        wanted = {
            key: value if step == 1 else wanted[key] + weight * (value - wanted[key])
            for key, value in trained.items()
        }
        assert_equal(averaged.step(), trained, rtol=1e-12, atol=1e-14)
        if step in (1, 4, 5, 8):  # an evaluation after it
            assert_equal(averaged.prepare(), wanted, rtol=1e-12, atol=1e-14)
        if step == 5:  # and a second one, with no step between
            assert_equal(averaged.prepare(), wanted, rtol=1e-12, atol=1e-14)
    assert not np.allclose(wanted["hidden.weight"], trained["hidden.weight"], rtol=1e-3)
    assert not np.allclose(wanted["mean"], trained["mean"], rtol=1e-3)


@pytest.mark.parametrize("framework", WORKLOADS)
def test_without_averaging_evaluations_see_the_weights(framework):
    training = Training("asgo", framework)
    trained = training.step()
    assert_equal(training.prepare(), trained, rtol=0)


def test_counters_that_are_not_numbers_to_average_are_left_alone():
    training = Training("adamw", "pytorch", ema_decay=DECAY)
    for _ in range(3):
        training.step()
    training.prepare()
    assert training.params[0].seen == 3


def test_torch_goes_on_from_a_checkpoint_of_an_evaluation():
    """Which holds the averaged weights in the model, the trained ones in the average."""
    whole, first = (Training("asgo", "pytorch", ema_decay=DECAY) for _ in range(2))
    for training in (whole, first):
        for _ in range(3):
            training.step()
        training.prepare()
    second = Training("asgo", "pytorch", ema_decay=DECAY)
    for _ in range(3):
        next(second.stream)
    second.step_number = 3
    second.params.load_state_dict(first.params.state_dict())
    for key, value in second.state.items():
        value.load_state_dict(first.state[key].state_dict())
    for _ in range(2):
        assert_equal(second.step(), whole.step(), rtol=0)
    assert_equal(second.prepare(), whole.prepare(), rtol=0)


def test_jax_state_keeps_its_structure_and_compiles_once(x64):
    from submissions.common import jax as common

    training = Training("asgo", "jax", ema_decay=DECAY)
    before = jax.tree.structure(training.state[0])
    count = common._compiled_step()._cache_size()
    for _ in range(2):
        training.step()
        training.prepare()
    training.step()
    assert jax.tree.structure(training.state[0]) == before
    assert common._compiled_step()._cache_size() == count + 1
