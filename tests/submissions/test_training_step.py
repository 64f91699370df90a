"""Every submission of the registry trains, and its two frameworks take the same steps."""

import collections
import importlib
import types
from typing import Any

import jax
import numpy as np
import optimizers
import pytest
import tiny_workloads
import torch
from tiny_workloads import TinyJax, TinyTorch, batches

from algoperf_api import param_utils, spec
from submissions.registry import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("quick_compilation")
FRAMEWORKS = {"jax": TinyJax, "pytorch": TinyTorch}


def train(name, framework, hyperparameters, steps, stream=None, dtype: Any = np.float32):
    """Run a submission as AlgoPerf does; returns (workload, losses, flat parameters).

    Older harnesses pass no `train_state`, that is None, newer ones a mapping: here by turns.
    """
    module = importlib.import_module(f"submissions.{name}.{framework}.submission")
    workload = FRAMEWORKS[framework](dtype)
    params, model_state, losses = workload.init_model_fn(), None, []
    rng = jax.random.PRNGKey(0) if framework == "jax" else [0, 0]
    state = module.init_optimizer_state(workload, params, None, hyperparameters, rng)
    stream = stream or batches(dtype=dtype)
    common = {
        "workload": workload,
        "current_params_types": workload.model_params_types,
        "hyperparameters": hyperparameters,
        "loss_type": workload.loss_type,
        "eval_results": [],
        "rng": rng,
    }
    for step in range(steps):
        batch = module.data_selection(
            workload, stream, state, params, model_state, hyperparameters, step, rng
        )
        logits, _ = workload.model_fn(params, batch, None, None, rng, False)
        loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
        losses.append((loss["summed"] / loss["n_valid_examples"]).item())
        state, params, model_state = module.update_params(
            current_param_container=params,
            model_state=model_state,
            batch=batch,
            optimizer_state=state,
            global_step=step,
            train_state={} if step % 2 else None,
            **common,
        )
    state, params, model_state = module.prepare_for_eval(
        current_param_container=params,
        model_state=model_state,
        optimizer_state=state,
        global_step=steps,
        **common,
    )
    return workload, losses, workload.flat(params)


def point(**values):
    return collections.namedtuple("Hyperparameters", values)(**values)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loss_falls_with_the_defaults(name, framework):
    compiled = compilations()
    _, losses, _ = train(name, framework, point(learning_rate=0.03), 40)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert compilations() == compiled + (framework == "jax")


def compilations():
    """Of the one step that all JAX submissions share."""
    from submissions.common import jax as common

    return common._compiled_step()._cache_size()


# Their own AdamW is one algorithm in both frameworks; their Adafactors are two.
@pytest.mark.parametrize("name", ["adamw", *optimizers.NAMES])
def test_frameworks_take_the_same_steps(x64, name, monkeypatch):
    given = {
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "warmup_factor": 0.1,
        "label_smoothing": 0.1,
        "grad_clip": 0.5,
        "one_minus_beta2": 0.05,
        "beta1": 0.8,
        "momentum": 0.8,
    }
    known = OPTIMIZERS[name].hyperparameters
    given = {k: v for k, v in given.items() if k.removeprefix("one_minus_") in known}
    if name in optimizers.NAMES and max(optimizers.undamped_orders(name, (3, 2)), default=0) == 3:
        # Directions of a long side that no gradient has reached would be rounding errors.
        monkeypatch.setattr(tiny_workloads, "INPUTS", tiny_workloads.HIDDEN)
        given["start_step"] = 6
    _, _, from_jax = train(name, "jax", point(**given), 25, dtype=np.float64)
    _, _, from_torch = train(name, "pytorch", point(**given), 25, dtype=np.float64)
    for key, value in from_torch.items():
        np.testing.assert_allclose(from_jax[key], value, rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_self_tuning_uses_the_defaults(framework):
    for nothing in (None, {}):
        _, losses, _ = train("asgo", framework, nothing, 5)
        assert np.all(np.isfinite(losses))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_metrics_are_logged_at_the_first_step(framework):
    workload, losses, _ = train("shampoo", framework, point(grad_clip=1.0), 3)
    ((step, metrics),) = workload.metrics_logger.rows
    assert step == 0
    assert metrics["loss"] == pytest.approx(losses[0], rel=1e-4)
    assert metrics["grad_norm"] > 0
    assert metrics["skipped_updates"] == metrics["failed_roots"] == 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_gradient_that_is_not_finite_is_skipped_and_reported(framework, caplog):
    def stream():
        for number, batch in enumerate(batches()):
            if number == 2:
                batch["inputs"][0, 0] = np.nan
            yield batch

    workload, _, spoiled = train("asgo", framework, point(learning_rate=0.01), 3, stream())
    _, _, before = train("asgo", framework, point(learning_rate=0.01), 2)
    for key, value in before.items():
        np.testing.assert_array_equal(spoiled[key], value)
    assert "skipped_updates" in caplog.text
    step, metrics = workload.metrics_logger.rows[-1]
    assert step == 3
    assert metrics["skipped_updates"] > 0


class CompiledTinyTorch(TinyTorch):
    def init_model_fn(self):
        return torch.compile(super().init_model_fn(), backend="eager")


@pytest.mark.parametrize("name", ["adamw", "asgo"])
def test_compiled_models(name, monkeypatch):
    """Their parameters are called `_orig_mod.decoder.weight`; the head is on ASGO's fallback."""
    given = point(learning_rate=0.01)
    _, losses, plain = train(name, "pytorch", given, 4)
    monkeypatch.setitem(FRAMEWORKS, "pytorch", CompiledTinyTorch)
    _, compiled_losses, compiled = train(name, "pytorch", given, 4)
    np.testing.assert_allclose(compiled_losses, losses, rtol=1e-6)
    assert compiled.keys() == {f"_orig_mod.{key}" for key in plain}
    for key, value in plain.items():
        np.testing.assert_allclose(compiled[f"_orig_mod.{key}"], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_torch_state_has_state_dicts(name):
    module = importlib.import_module(f"submissions.{name}.pytorch.submission")
    workload = TinyTorch()
    state = module.init_optimizer_state(workload, workload.init_model_fn(), None, None, [0, 0])
    for value in state.values():
        value.load_state_dict(value.state_dict())


def test_torch_names_are_stripped_of_wrappers():
    from submissions.common import pytorch as common

    workload: Any = TinyTorch()
    workload.init_model_fn()
    for prefix in ("", "module.", "_orig_mod.", "module._orig_mod."):
        assert common._role(workload, prefix + "decoder.weight") == "head"
        assert common._role(workload, prefix + "hidden.weight") == "matrix"
        assert common._role(workload, prefix + "hidden.bias") == "vector"


def test_jax_roles_match_lower_cased_types():
    from submissions.common import jax as common

    workload: Any = TinyJax()
    workload.init_model_fn()
    role = common._roles(workload)
    assert role("Decoder/kernel", None) == "head"
    assert role("Dense_0/kernel", None) == "matrix"
    assert role("Dense_0/bias", None) == "vector"


def test_jax_heads_are_top_level_modules_only():
    from submissions.common import jax as common

    kinds = param_utils.jax_param_types(
        {
            "Dense_0": {"kernel": spec.ShapeTuple((8, 4))},
            "Block_0": {"Dense_0": {"kernel": spec.ShapeTuple((8, 8))}},
        }
    )
    workload: Any = types.SimpleNamespace(
        model_params_types=kinds, is_output_params=lambda key: key == "Dense_0"
    )
    role = common._roles(workload)
    assert role("Dense_0/kernel", None) == "head"
    assert role("Block_0/Dense_0/kernel", None) == "matrix"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_ignores_tensors_that_are_not_finite(bad):
    from submissions.common import jax as in_jax
    from submissions.common import pytorch as in_torch

    arrays = [np.array([3.0, 0.0]), np.array([bad, 1.0]), np.array([[4.0]])]
    assert float(in_jax.finite_norm([jax.numpy.asarray(a) for a in arrays])) == 5.0
    grads: list[Any] = [torch.tensor(a) for a in arrays]
    assert in_torch.clip_grad_norm([*grads, None], 1.0).item() == 5.0
    np.testing.assert_allclose(grads[0], [0.6, 0.0], rtol=1e-5)
    np.testing.assert_allclose(grads[2], [[0.8]], rtol=1e-5)
    assert not torch.isfinite(grads[1]).all()
    before = grads[0].clone()
    in_torch.clip_grad_norm(grads, 100.0)
    np.testing.assert_array_equal(grads[0], before)
