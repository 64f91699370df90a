"""Softmax cross-entropy of both frameworks against NumPy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from workload_fakes import concrete

from workloads_overrides.base.softmax_jax import JaxSoftmaxWorkload
from workloads_overrides.base.softmax_pytorch import PytorchSoftmaxWorkload

SHAPES = [(5,), (4, 6), (2, 3, 4)]
CLASSES = 7
JAX, TORCH = concrete(JaxSoftmaxWorkload), concrete(PytorchSoftmaxWorkload)


@jax.jit
def jax_loss_and_gradient(labels, logits, mask, smoothing):
    def loss(logits):
        result = JAX.loss_fn(labels, logits, mask, smoothing)
        return result["summed"], result

    gradient, result = jax.grad(loss, has_aux=True)(logits)
    return result, gradient


class Jax:
    workload = JAX
    eval_rows = staticmethod(jax.jit(JAX._eval_rows))
    float32, bfloat16, float64 = jnp.float32, jnp.bfloat16, jnp.float64
    array = staticmethod(jnp.asarray)
    loss_and_gradient = staticmethod(jax_loss_and_gradient)


class Torch:
    workload = TORCH
    eval_rows = TORCH._eval_rows
    float32, bfloat16, float64 = torch.float32, torch.bfloat16, torch.float64

    @staticmethod
    def array(values, dtype=None):
        return torch.tensor(values, dtype=dtype)

    @staticmethod
    def loss_and_gradient(labels, logits, mask, smoothing):
        logits = logits.clone().requires_grad_()
        result = TORCH.loss_fn(labels, logits, mask, smoothing)
        result["summed"].backward()
        return {name: value.detach() for name, value in result.items()}, logits.grad


@pytest.fixture(params=[Jax, Torch], ids=["jax", "pytorch"])
def fw(request):
    return request.param()


def numpy(x):
    return np.asarray(x.double() if isinstance(x, torch.Tensor) else x, np.float64)


def oracle(labels, logits, mask, smoothing):
    """(losses, gradient of their sum), in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(logits.shape[-1])[labels] + smoothing / logits.shape[-1]
    losses = np.where(mask != 0, -(target * log_p).sum(-1), 0)
    return losses, np.where((mask != 0)[..., None], np.exp(log_p) - target, 0)


def example(shape, scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, shape)
    mask = (rng.random(shape) < 0.7).astype(np.float32)
    return labels, scale * rng.normal(size=(*shape, CLASSES)), mask


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(fw, shape, smoothing):
    labels, logits, mask = example(shape)
    args = [fw.array(x) for x in (labels, logits.astype(np.float32), mask)]
    losses, gradient = oracle(labels, logits.astype(np.float32), mask, smoothing)
    result, back = fw.loss_and_gradient(*args, smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    assert tuple(result["per_example"].shape) == shape
    np.testing.assert_allclose(numpy(result["per_example"]), losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(result["summed"]), losses.sum(), rtol=1e-6)
    assert float(result["n_valid_examples"]) == mask.sum()
    for value in result.values():
        assert value.dtype == fw.float32
    np.testing.assert_allclose(numpy(back), gradient, atol=1e-6)


def test_no_mask_means_everything(fw):
    labels, logits, _ = example((4, 6))
    result = fw.workload.loss_fn(fw.array(labels), fw.array(logits.astype(np.float32)))
    losses, _ = oracle(labels, logits, np.ones((4, 6)), 0.0)
    np.testing.assert_allclose(numpy(result["per_example"]), losses, rtol=1e-5, atol=1e-6)
    assert float(result["n_valid_examples"]) == 24
    assert result["n_valid_examples"].dtype == fw.float32


def test_double_precision_stays(fw, x64):
    labels, logits, mask = example((4, 6))
    args = [fw.array(labels), fw.array(logits, fw.float64), fw.array(mask)]
    result, back = fw.loss_and_gradient(*args, 0.1)
    losses, gradient = oracle(labels, logits, mask, 0.1)
    assert result["per_example"].dtype == result["summed"].dtype == fw.float64
    np.testing.assert_allclose(numpy(result["per_example"]), losses, rtol=1e-13)
    np.testing.assert_allclose(numpy(back), gradient, atol=1e-13)


def test_half_precision_is_promoted(fw):
    labels, logits, mask = example((4, 6), scale=20.0)
    logits = fw.array(logits, fw.bfloat16)
    args = [fw.array(labels), logits, fw.array(mask)]
    result, back = fw.loss_and_gradient(*args, 0.1)
    losses, gradient = oracle(labels, numpy(logits), mask, 0.1)
    assert result["per_example"].dtype == fw.float32
    np.testing.assert_allclose(numpy(result["per_example"]), losses, rtol=1e-6)
    assert back.dtype == fw.bfloat16
    np.testing.assert_allclose(numpy(back), gradient, rtol=2**-8, atol=1e-6)


def test_extreme_logits(fw):
    logits = np.array([[1e4, 0, -1e4], [1e4, 0, -1e4], [3e38, -3e38, 0]], np.float32)
    labels, mask = np.array([0, 2, 0]), np.ones(3, np.float32)
    args = [fw.array(x) for x in (labels, logits, mask)]
    result, back = fw.loss_and_gradient(*args, 0.0)
    np.testing.assert_allclose(numpy(result["per_example"]), [0, 2e4, 0])
    np.testing.assert_allclose(numpy(back), [[0, 0, 0], [1, 0, -1], [0, 0, 0]], atol=1e-7)


@pytest.mark.parametrize("garbage", [-1, -100, CLASSES, 2**31 - 1])
def test_labels_that_do_not_count_may_be_anything(fw, garbage):
    labels, logits, mask = example((4, 6))
    losses, gradient = oracle(labels, logits.astype(np.float32), mask, 0.1)
    labels = np.where(mask == 0, garbage, labels)
    args = [fw.array(x) for x in (labels, logits.astype(np.float32), mask)]
    result, back = fw.loss_and_gradient(*args, 0.1)
    np.testing.assert_allclose(numpy(result["per_example"]), losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(back), gradient, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_do_not_count_do_not_spoil_the_sum(fw, bad):
    labels, logits, mask = example((4, 6))
    losses, _ = oracle(labels, logits, mask, 0.0)
    logits = np.where((mask == 0)[..., None], bad, logits).astype(np.float32)
    args = [fw.array(x) for x in (labels, logits, mask)]
    result, _ = fw.loss_and_gradient(*args, 0.0)
    np.testing.assert_allclose(numpy(result["per_example"]), losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(result["summed"]), losses.sum(), rtol=1e-6)


def test_nothing_that_counts(fw):
    labels, logits, mask = example((4,))
    args = [fw.array(x) for x in (labels, logits.astype(np.float32), 0 * mask)]
    result, back = fw.loss_and_gradient(*args, 0.0)
    assert float(result["summed"]) == float(result["n_valid_examples"]) == 0
    assert (numpy(back) == 0).all()


@pytest.mark.parametrize(
    ("labels", "logits", "mask"),
    [
        ((4,), (5, 3), (4,)),
        ((4,), (4, 3), (5,)),
        ((4,), (4, 3), (4, 1)),
        ((4, 1), (4, 3), (4, 1)),
        ((4, 3), (4, 3), (4, 3)),
        ((12,), (4, 3, 2), (12,)),
    ],
)
def test_shapes_that_do_not_fit(fw, labels, logits, mask):
    zeros = [np.zeros(labels, np.int64), np.zeros(logits, np.float32), np.zeros(mask, np.float32)]
    with pytest.raises(ValueError, match="expected, got") as caught:
        fw.workload.loss_fn(*(fw.array(x) for x in zeros))
    assert f"{labels}, {logits}, {mask}" in str(caught.value)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_of_an_evaluation(fw, shape):
    labels, logits, mask = example(shape, seed=1)
    losses, _ = oracle(labels, logits.astype(np.float32), mask, 0.0)
    batch = {"targets": fw.array(labels), "weights": fw.array(mask)}
    rows = fw.eval_rows(fw.array(logits.astype(np.float32)), batch)
    correct = mask * (logits.argmax(-1) == labels)
    expected = {"loss": losses, "accuracy": correct, "denominator": mask}
    assert rows.keys() == expected.keys()
    for name, values in expected.items():
        expected_sums = values.reshape(shape[0], -1).sum(1)
        np.testing.assert_allclose(numpy(rows[name]), expected_sums, rtol=1e-5, atol=1e-6)


def test_both_frameworks_break_ties_alike():
    batch = {"targets": np.array([0, 1]), "weights": np.ones(2, np.float32)}
    logits = np.array([[2, 2, 0], [2, 2, 0]], np.float32)
    for fw in (Jax(), Torch()):
        arrays = {name: fw.array(array) for name, array in batch.items()}
        rows = fw.eval_rows(fw.array(logits), arrays)
        np.testing.assert_array_equal(numpy(rows["accuracy"]), [1, 0])
