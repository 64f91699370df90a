"""The same weights and the same batch in both frameworks: the same numbers, every workload."""

import functools

import jax
import numpy as np
import pytest
import torch
import workload_cases as cases
import workload_models as models
from workload_cases import EVALUATED, each_workload

from workloads_overrides import FRAMEWORKS

# Of the many inputs of ReLUs in a batch one or another lies within single precision's rounding of
# zero, and its gradient may be either: gradients of these are compared in double precision only.
WITH_RELU = {"ogbg_small", "imagenet_resnet_small"}
# Of gradient descent: with these the loss falls clearly within ten steps.
LEARNING_RATES = {
    "ogbg_small": 0.5,
    "wmt_small": 0.05,
    "c4_small": 0.5,
    "imagenet_resnet_small": 0.5,
    "imagenet_vit_small": 0.2,
}


def cast(tree, dtype):
    return jax.tree.map(lambda x: np.asarray(x, dtype), tree)


@functools.cache
def both(name):
    """(loss, logits, gradients) of one training step of each framework, in single precision."""
    return [
        cases.step(
            name,
            framework,
            cases.container(name, framework, cases.perturbed(name)),
            cases.initial(name, framework)[1],
            cases.train_batches(name, framework)[0],
        )[:3]
        for framework in FRAMEWORKS
    ]


@each_workload
def test_logits_and_loss(name):
    (our_loss, our_logits, _), (their_loss, their_logits, _) = both(name)
    assert our_logits.dtype == their_logits.dtype == np.float32
    assert our_logits.std() > 0.01
    np.testing.assert_allclose(our_logits, their_logits, rtol=0, atol=1e-5)
    assert our_loss == pytest.approx(their_loss, rel=1e-6)


@each_workload
def test_gradients_in_single_precision(name):
    if name in WITH_RELU:
        pytest.skip("in double precision instead")
    (_, _, ours), (_, _, theirs) = both(name)
    cases.assert_gradients_close(ours, theirs, rel=1e-5)


@each_workload
def test_gradients_in_double_precision(name, x64):
    if name not in WITH_RELU:
        pytest.skip("in single precision")
    results = []
    for framework in FRAMEWORKS:
        params = cases.container(name, framework, cases.perturbed(name), np.float64)
        state = cast(cases.initial(name, framework)[1], np.float64)
        batch = cases.widened(cases.train_batches(name, framework)[0])
        loss, logits, grads, _ = cases.step(name, framework, params, state, batch)
        assert logits.dtype == np.float64
        assert {g.dtype for g in grads.values()} == {np.dtype(np.float64)}
        results.append((loss, logits, grads))
    (our_loss, our_logits, ours), (their_loss, their_logits, theirs) = results
    assert our_loss == pytest.approx(their_loss, rel=1e-6)
    np.testing.assert_allclose(our_logits, their_logits, rtol=0, atol=1e-10)
    cases.assert_gradients_close(ours, theirs, rel=1e-6)


def dtype_of(name):
    return np.float64 if name in WITH_RELU else np.float32


@functools.cache
def trained(name, framework):
    """(losses, parameters, model state after them, both in single precision).

    Of ten steps of gradient descent on two batches in turn, and of one more on the first batch:
    the loss of a batch that was seen has to fall, whereas those of ten batches differ anyway.
    """
    dtype, losses = dtype_of(name), []
    batches = cases.train_batches(name, framework)
    with cases.precision(dtype):
        values = {n: p.astype(dtype) for n, p in models.values(name).items()}
        params = cases.container(name, framework, values, dtype)
        state = cast(cases.initial(name, framework)[1], dtype)
        for batch in [*5 * batches[:2], batches[0]]:
            batch = cases.widened(batch) if dtype == np.float64 else batch
            loss, _, grads, state = cases.step(name, framework, params, state, batch)
            values = {n: p - dtype(LEARNING_RATES[name]) * grads[n] for n, p in values.items()}
            if framework == "jax":
                params = cases.container(name, framework, values, dtype)
            else:  # the same module, with its running statistics
                cases.load(params, values)
            losses.append(loss)
    if isinstance(params, torch.nn.Module):
        return losses, params.float(), state
    return losses, cast(params, np.float32), cast(state, np.float32)


@each_workload
def test_ten_steps_of_gradient_descent(name):
    (ours, _, _), (theirs, _, _) = (trained(name, framework) for framework in FRAMEWORKS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6 if name in WITH_RELU else 1e-4)
    assert ours[-1] < 0.9 * ours[0], "the first batch's, before and after"


@each_workload
def test_running_statistics_after_them(name):
    ours, theirs = (cases.flat_state(name, *trained(name, fw)[1:]) for fw in FRAMEWORKS)
    assert ours.keys() == theirs.keys()
    for tensor, array in ours.items():
        np.testing.assert_allclose(array, theirs[tensor], rtol=1e-4, atol=1e-5, err_msg=tensor)


@each_workload
def test_evaluations_after_them(name):
    size = cases.workload(name, "jax").eval_batch_size
    ours, theirs = (
        cases.evaluate(name, fw, *trained(name, fw)[1:], EVALUATED, size) for fw in FRAMEWORKS
    )
    models.assert_same_metrics(ours, theirs, rel=1e-4)
