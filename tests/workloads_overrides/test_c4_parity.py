"""The same weights and tokens in JAX and PyTorch: logits, losses, gradients, training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from c4_cases import (
    DATA_RNG,
    EVAL,
    TRAIN,
    HalfJax,
    HalfTorch,
    TinyJax,
    TinyTorch,
    jax_container,
    random_params,
    torch_container,
    write_corpus,
)
from c4_large_cases import LargeJax, LargeTorch

from workloads_overrides.base import param_map
from workloads_overrides.c4 import c4_jax, c4_pytorch
from workloads_overrides.c4.c4_pytorch.workload import PytorchC4Workload
from workloads_overrides.c4.config import SMALL
from workloads_overrides.c4.numerics import pytorch_name


class SmallJax(TinyJax):
    """`c4_small`'s model, over any tokens."""

    model_config = SMALL


class SmallTorch(TinyTorch):
    model_config = SMALL


PAIRS = {
    "tiny": (TinyJax, TinyTorch),
    "small": (SmallJax, SmallTorch),
    "large": (LargeJax, LargeTorch),  # in single precision, as a CPU counts as having no other
}


@functools.cache
def workloads(size):
    return tuple(cls() for cls in PAIRS[size])


def make_batch(size, count=4, seed=0):
    """Random tokens; a fifth of the targets is padding."""
    rng = np.random.default_rng(seed)
    workload = workloads(size)[0]
    shape = (count, workload.context_length)
    inputs, targets = rng.integers(1, workload.model_config.vocab, (2, *shape)).astype(np.int32)
    weights = (rng.random(shape) < 0.8).astype(np.float32)
    return {"inputs": inputs, "targets": np.where(weights, targets, 0), "weights": weights}


def to_torch(batch):
    return {
        name: torch.as_tensor(a, dtype=torch.int64 if a.dtype.kind == "i" else None)
        for name, a in batch.items()
    }


def mean_loss(workload, params, batch):
    rng = None if isinstance(workload, PytorchC4Workload) else jax.random.PRNGKey(0)
    logits, _ = workload.model_fn(params, batch, None, TRAIN, rng, True)
    loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
    return loss["summed"] / loss["n_valid_examples"], logits


@functools.cache
def jax_value_and_grad(size):
    def loss(params, batch):
        return mean_loss(workloads(size)[0], params, batch)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def both_values_and_grads(size, values, batch):
    """(loss, logits, {PyTorch's name: gradient}) in JAX and in PyTorch."""
    ours, theirs = workloads(size)
    (loss, logits), grads = jax_value_and_grad(size)(jax_container(ours, values), batch)
    first = float(loss), np.asarray(logits), param_map.to_pytorch(grads, pytorch_name)
    model = torch_container(theirs, values)
    loss, logits = mean_loss(theirs, model, to_torch(batch))
    loss.backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return first, (loss.item(), logits.detach().numpy(), grads)


def initial_values(size):
    params, _ = workloads(size)[0].init_model_fn(jax.random.PRNGKey(4))
    return param_map.to_pytorch(params, pytorch_name)


@pytest.mark.parametrize("start", ["initial", "trained"])
@pytest.mark.parametrize("size", PAIRS)
def test_logits_loss_and_gradients_in_single_precision(size, start):
    trained = start == "trained"
    values = random_params(workloads(size)[0].model_config) if trained else initial_values(size)
    ours, theirs = both_values_and_grads(size, values, make_batch(size))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-5)
    assert ours[2].keys() == theirs[2].keys()
    for name, gradient in theirs[2].items():
        assert np.linalg.norm(gradient) > 0, name
        difference = np.linalg.norm(ours[2][name] - gradient)
        assert difference < 1e-5 * np.linalg.norm(gradient), name


def test_gradients_in_double_precision(x64):
    """No value is rounded to single precision on the way, but for the labels' weights."""
    values = random_params(workloads("tiny")[0].model_config, np.float64)
    ours, theirs = both_values_and_grads("tiny", values, make_batch("tiny"))
    assert ours[1].dtype == theirs[1].dtype == np.float64
    assert ours[0] == pytest.approx(theirs[0], rel=1e-13)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-12)
    for name, gradient in theirs[2].items():
        assert ours[2][name].dtype == np.float64
        difference = np.linalg.norm(ours[2][name] - gradient)
        assert difference < 1e-12 * np.linalg.norm(gradient), name


@pytest.mark.parametrize("size", ["tiny", "large"])
def test_ten_sgd_steps(tmp_path, size):
    write_corpus(tmp_path)
    ours, theirs = workloads(size)
    values = initial_values(size)
    params, model = jax_container(ours, values), torch_container(theirs, values)
    queues = [w._build_input_queue(DATA_RNG, "train", str(tmp_path), 8) for w in (ours, theirs)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    losses = []
    for batch, other, _ in zip(*queues, range(10), strict=False):
        (loss, _), grads = jax_value_and_grad(size)(params, batch)
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)
        optimizer.zero_grad()
        torch_loss, _ = mean_loss(theirs, model, other)
        torch_loss.backward()
        optimizer.step()
        losses.append((float(loss), torch_loss.item()))
    first, second = np.array(losses).T
    np.testing.assert_allclose(first, second, rtol=1e-4)
    assert first[-1] < 0.8 * first[0], "and they train"


class AmpereJax(LargeJax):
    """Where the device has bfloat16, see `ampere`."""


class AmpereTorch(LargeTorch):
    pass


@pytest.fixture(scope="module")
def ampere():
    """All devices have bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        for package in (c4_jax, c4_pytorch):
            patch.setattr(f"{package.__name__}.workload.has_bfloat16", lambda device: True)
        yield


@pytest.fixture(scope="module")
def halves(ampere):
    """Logits (float32) and loss of one batch by precision and framework."""
    values = random_params(TinyJax.model_config)
    batch = make_batch("tiny")
    results = {}
    for cls in (TinyJax, HalfJax, AmpereJax, TinyTorch, HalfTorch, AmpereTorch):
        workload = cls()
        if not issubclass(cls, PytorchC4Workload):
            params = jax_container(workload, values)
            assert {p.dtype for p in jax.tree.leaves(params)} == {np.dtype(np.float32)}
            logits, _ = workload.model_fn(params, batch, None, EVAL, None, False)
            loss, _ = jax.jit(functools.partial(mean_loss, workload))(params, batch)
            wide = np.asarray(logits.astype(jnp.float32))
        else:
            model = torch_container(workload, values)
            assert {p.dtype for p in model.parameters()} == {torch.float32}
            logits, _ = workload.model_fn(model, to_torch(batch), None, EVAL, None, False)
            loss, _ = mean_loss(workload, model, to_torch(batch))
            wide = logits.float().numpy()
        loss = loss.detach() if issubclass(cls, PytorchC4Workload) else loss
        results[cls] = (str(logits.dtype).removeprefix("torch."), wide, loss)
    return results


@pytest.mark.parametrize("pair", [(HalfJax, HalfTorch), (AmpereJax, AmpereTorch)])
def test_half_precision_agrees_between_frameworks(halves, pair):
    (_, ours, our_loss), (_, theirs, their_loss) = (halves[cls] for cls in pair)
    assert float(our_loss) == pytest.approx(their_loss.item(), rel=1e-2)
    assert np.abs(ours - theirs).mean() < 0.02 * ours.std()


@pytest.mark.parametrize(
    ("half", "full"),
    [
        (HalfJax, TinyJax),
        (HalfTorch, TinyTorch),
        (AmpereJax, TinyJax),
        (AmpereTorch, TinyTorch),
    ],
)
def test_half_precision_is_close_to_single_and_not_it(halves, half, full):
    kind, logits, loss = halves[half]
    other_kind, other_logits, other_loss = halves[full]
    assert (kind, other_kind) == ("bfloat16", "float32")
    assert float(loss) == pytest.approx(float(other_loss), rel=1e-2)
    assert float(loss) != float(other_loss)
    assert str(loss.dtype).removeprefix("torch.") == "float32", "the loss is single"
    difference = np.abs(logits - other_logits).mean() / other_logits.std()
    assert 1e-4 < difference < 0.05


def test_half_precision_has_gradients_in_single():
    workload, batch = HalfTorch(), to_torch(make_batch("tiny"))
    values = random_params(HalfTorch.model_config)
    model = torch_container(workload, values)
    mean_loss(workload, model, batch)[0].backward()
    ours = HalfJax()
    grads = jax.jit(jax.grad(lambda p, b: mean_loss(ours, p, b)[0]))(
        jax_container(ours, values), make_batch("tiny")
    )
    flat = param_map.to_pytorch(grads, pytorch_name)
    for name, p in model.named_parameters():
        assert p.grad.dtype == torch.float32
        assert flat[name].dtype == np.float32
        difference = np.linalg.norm(flat[name] - p.grad.numpy())
        assert difference < 0.1 * np.linalg.norm(p.grad), name


def test_evaluations_agree(tmp_path):
    write_corpus(tmp_path)
    ours, theirs = workloads("tiny")
    values = random_params(ours.model_config)
    args = ("validation", 21, 8)
    params, model = jax_container(ours, values), torch_container(theirs, values)
    first = ours._eval_model_on_split(*args, params, None, None, str(tmp_path))
    second = theirs._eval_model_on_split(*args, model, None, None, str(tmp_path))
    assert first == pytest.approx(second, rel=1e-5)
