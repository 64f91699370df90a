"""Training steps of every workload: dropout, batch norm, no second trace, and the loss falls."""

import functools
import importlib

import jax
import numpy as np
import pytest
import torch
import workload_cases as cases
from tiny_workloads import Logger
from workload_cases import EVAL, TRAIN, each_case, each_workload

from submissions.common import jax as common_jax
from workloads_overrides import FRAMEWORKS

HIGH_RATE = 0.5


def logits_of(name, framework, rate, seed=0):
    params = cases.container(name, framework, cases.perturbed(name))
    _, state = cases.initial(name, framework)
    batch = cases.train_batches(name, framework)[0]
    return cases.step(name, framework, params, state, batch, rate, seed)[1]


@functools.cache
def has_dropout(name, framework="pytorch"):
    plain, dropped = (logits_of(name, framework, rate) for rate in (0.0, HIGH_RATE))
    return bool((plain != dropped).any())


@each_workload
def test_both_frameworks_have_dropout_or_none(name):
    assert has_dropout(name, "jax") == has_dropout(name, "pytorch")
    if cases.workload(name, "jax").default_dropout_rate > 0:
        assert has_dropout(name)


@each_case
def test_dropout_acts_in_training_as_its_rate_says(name, framework):
    plain = logits_of(name, framework, 0.0)
    programs = cases.jax_step(name)._cache_size()
    np.testing.assert_array_equal(plain, logits_of(name, framework, 0.0, seed=1))
    if not has_dropout(name):
        pytest.skip("no dropout")
    dropped = logits_of(name, framework, HIGH_RATE)
    np.testing.assert_array_equal(dropped, logits_of(name, framework, HIGH_RATE))
    other = logits_of(name, framework, HIGH_RATE, seed=1)
    effects = [
        np.linalg.norm(x - plain) for x in (dropped, other, logits_of(name, framework, 0.05))
    ]
    assert min(effects) > 1e-3 * np.linalg.norm(plain)
    assert np.linalg.norm(dropped - other) > 0.1 * effects[0]
    assert effects[2] < effects[0]
    if framework == "jax":
        assert cases.jax_step(name)._cache_size() == programs, "the rate is traced"


@each_workload
def test_both_frameworks_drop_as_much(name):
    """The spread of the logits over masks is the same, as far as a few masks tell."""
    if not has_dropout(name):
        pytest.skip("no dropout")
    spreads = []
    for framework in FRAMEWORKS:
        draws = np.stack([logits_of(name, framework, HIGH_RATE, seed) for seed in range(8)])
        spreads.append(draws.std(0).mean())
    assert spreads[0] == pytest.approx(spreads[1], rel=0.15)


@each_workload
def test_the_default_rate_is_the_workloads_in_jax(name):
    w = cases.workload(name, "jax")
    params, state = cases.initial(name, "jax")
    batch = cases.train_batches(name, "jax")[0]

    def trace(mode, **rate):
        def logits(params, state, rng):
            return w.model_fn(params, batch, state, mode, rng, True, **rate)

        return str(jax.make_jaxpr(logits)(params, state, jax.random.PRNGKey(0)))

    default = w.default_dropout_rate
    assert trace(TRAIN) == trace(TRAIN, dropout_rate=default)
    assert (trace(TRAIN) != trace(TRAIN, dropout_rate=default + 0.1)) == has_dropout(name)
    assert trace(EVAL) == trace(EVAL, dropout_rate=HIGH_RATE)


@each_workload
def test_the_default_rate_is_the_workloads_in_pytorch(name):
    w = cases.workload(name, "pytorch")
    model = cases.container(name, "pytorch", cases.perturbed(name))
    batch = cases.train_batches(name, "pytorch")[0]

    def logits(mode, **rate):
        torch.manual_seed(0)
        return w.model_fn(model, batch, None, mode, None, False, **rate)[0].detach()

    default = w.default_dropout_rate
    same = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(logits(TRAIN), logits(TRAIN, dropout_rate=default), **same)
    other = logits(TRAIN, dropout_rate=default + 0.1)
    assert torch.equal(logits(TRAIN), other) != has_dropout(name)
    torch.testing.assert_close(logits(EVAL), logits(EVAL, dropout_rate=HIGH_RATE), **same)


@each_workload
def test_pytorch_evaluates_without_gradients_in_eval_mode(name):
    w = cases.workload(name, "pytorch")
    model, _ = cases.initial(name, "pytorch")
    batch = cases.train_batches(name, "pytorch")[0]
    before = cases.flat_state(name, model, None)
    assert not w.model_fn(model, batch, None, EVAL, None, False)[0].requires_grad
    assert not model.training
    assert w.model_fn(model, batch, None, TRAIN, None, False)[0].requires_grad
    assert model.training
    for tensor, array in cases.flat_state(name, model, None).items():
        np.testing.assert_array_equal(array, before[tensor])
    w.model_fn(model, batch, None, TRAIN, None, True)
    for tensor, array in cases.flat_state(name, model, None).items():
        assert (array != before[tensor]).any(), tensor


@each_workload
def test_jax_keeps_its_model_state_unless_told(name):
    w = cases.workload(name, "jax")
    params, state = cases.initial(name, "jax")
    batch = cases.train_batches(name, "jax")[0]
    kept = []

    def model(mode, update):
        def traced(rng):
            new = w.model_fn(params, batch, state, mode, rng, update)[1]
            kept.append(new is state)
            return new

        return jax.eval_shape(traced, jax.random.PRNGKey(0))

    assert jax.tree.structure(model(TRAIN, True)) == jax.tree.structure(state)
    model(TRAIN, False)
    model(EVAL, True)
    assert kept == [state is None, True, True]


@each_workload
def test_label_smoothing_may_be_traced_in_jax(name):
    ours, theirs = (cases.workload(name, framework) for framework in FRAMEWORKS)
    batch, other = (cases.train_batches(name, framework)[0] for framework in FRAMEWORKS)
    shape = logits_of(name, "jax", 0.0).shape
    logits = 3 * np.random.default_rng(0).normal(size=shape).astype(np.float32)

    @jax.jit
    def traced(smoothing):
        loss = ours.loss_fn(batch["targets"], logits, batch["weights"], smoothing)
        return loss["summed"], loss["per_example"]

    sums = []
    for smoothing in (0.0, 0.1, 0.4):
        summed, losses = traced(smoothing)
        args = (other["targets"], torch.tensor(logits), other["weights"], smoothing)
        expected = theirs.loss_fn(*args)
        assert float(summed) == pytest.approx(expected["summed"].item(), rel=1e-5)
        np.testing.assert_allclose(losses, expected["per_example"], rtol=1e-5, atol=1e-5)
        sums.append(float(summed))
    assert traced._cache_size() == 1
    assert abs(np.diff(sums)).min() > 1e-3 * abs(sums[0])


# The warm-up is over at step 100 of any schedule here; multiples of 100 are logged.
STEPS = [0, *range(101, 113), 200]


@each_case
def test_a_submission_lowers_the_loss_and_compiles_once(name, framework):
    module = importlib.import_module(f"submissions.adamw.{framework}.submission")
    w = cases.workload(name, framework)
    params, state = w.init_model_fn(cases.key(framework, 3))
    traces = common_jax._compiled_step()._cache_size()
    torch.manual_seed(0)
    logger = w.metrics_logger = Logger()
    args = (w, params, state, None, cases.key(framework, 0))
    optimizer_state = module.init_optimizer_state(*args)
    batch = cases.train_batches(name, framework)[0]
    with cases.quick_compilation():
        for global_step in STEPS:
            optimizer_state, params, state = module.update_params(
                workload=w,
                current_param_container=params,
                current_params_types=w.model_params_types,
                model_state=state,
                hyperparameters=None,
                batch=batch,
                loss_type=w.loss_type,
                optimizer_state=optimizer_state,
                eval_results=[],
                global_step=global_step,
                rng=cases.key(framework, global_step),
            )
    w.metrics_logger = None
    first, last = (metrics["loss"] for step, metrics in logger.rows if step in (0, STEPS[-1]))
    assert last < 0.95 * first
    # The workload is a static argument of the step.
    expected = traces + (framework == "jax")
    assert common_jax._compiled_step()._cache_size() == expected
