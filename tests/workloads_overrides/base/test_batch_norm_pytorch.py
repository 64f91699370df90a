"""PyTorch's batch normalisation against flax's and against plain NumPy, and over two processes."""

import functools

import jax
import numpy as np
import pytest
import torch
from flax import linen
from torch import nn
from workload_processes import run_pytorch_ranks

from workloads_overrides.base.pytorch_batch_norm import BatchNorm, set_update_statistics

SHAPES = {"images": (6, 3, 4, 5), "vectors": (16, 3)}  # channels second
MOMENTUM, EPS = 0.8, 1e-3


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


def example(shape, offset=2.0):
    rng = np.random.default_rng(0)
    x = 3 * rng.normal(size=shape) + offset
    scale, bias, cotangent = rng.normal(size=3), rng.normal(size=3), rng.normal(size=shape)
    return x, scale, bias, cotangent


def make(scale, bias):
    layer = BatchNorm(3, momentum=MOMENTUM, eps=EPS).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(scale))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def statistics(layer):
    return layer.running_mean.clone(), layer.running_var.clone()


@functools.partial(jax.jit, static_argnums=4)
def flax_step(x, scale, bias, running, train):
    """(output, running statistics) of flax, channels last, float64."""
    layer = linen.BatchNorm(use_running_average=not train, momentum=MOMENTUM, epsilon=EPS)
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": running}
    return layer.apply(variables, x, mutable=["batch_stats"])


def to_last(array):
    return np.moveaxis(np.asarray(array), 1, -1)


def test_three_steps_and_an_evaluation_as_in_flax(x64, shape):
    x, scale, bias, _ = example(shape)
    layer = make(scale, bias)
    running = {"mean": np.zeros(3), "var": np.ones(3)}
    for step in range(4):
        layer.train(step < 3)
        inputs = x * (step + 1) + step
        ours, changed = flax_step(to_last(inputs), scale, bias, running, step < 3)
        running = changed["batch_stats"] if step < 3 else running
        theirs = layer(torch.tensor(inputs)).detach()
        np.testing.assert_allclose(to_last(theirs), ours, atol=1e-12)
        np.testing.assert_allclose(layer.running_mean, running["mean"], rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, running["var"], rtol=1e-12)


@pytest.mark.parametrize("train", [True, False])
def test_gradients_as_in_flax(x64, shape, train):
    x, scale, bias, cotangent = example(shape)
    running = {"mean": np.full(3, 0.5), "var": np.full(3, 2.0)}
    layer = make(scale, bias).train(train)
    layer.running_mean.fill_(0.5)
    layer.running_var.fill_(2.0)
    inputs = torch.tensor(x, requires_grad=True)
    (layer(inputs) * torch.tensor(cotangent)).sum().backward()

    def weighted(*arrays):
        return (flax_step(*arrays, running, train)[0] * to_last(cotangent)).sum()

    expected = jax.jit(jax.grad(weighted, argnums=(0, 1, 2)))(to_last(x), scale, bias)
    np.testing.assert_allclose(to_last(inputs.grad), expected[0], atol=1e-11)
    np.testing.assert_allclose(layer.weight.grad, expected[1], rtol=1e-10)
    np.testing.assert_allclose(layer.bias.grad, expected[2], rtol=1e-10)


def test_the_definition(shape):
    x, scale, bias, _ = example(shape)
    layer = make(scale, bias)
    out = to_last(layer(torch.tensor(x)).detach()).reshape(-1, 3)
    rows = to_last(x).reshape(-1, 3)
    mean, var = rows.mean(0), rows.var(0)
    np.testing.assert_allclose(out, (rows - mean) / np.sqrt(var + EPS) * scale + bias, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, 0.2 * mean)
    np.testing.assert_allclose(layer.running_var, 0.8 + 0.2 * var)  # the biased variance


def test_the_statistics_change_only_where_they_may(shape):
    x, scale, bias, _ = example(shape)
    model = nn.Sequential(nn.Identity(), make(scale, bias))
    layer, inputs = model[1], torch.tensor(x)
    before = statistics(layer)
    set_update_statistics(model, False)
    silent = model(inputs)
    torch.testing.assert_close(statistics(layer), before, rtol=0, atol=0)
    set_update_statistics(model, True)
    torch.testing.assert_close(model(inputs), silent, rtol=0, atol=0)  # the batch's, either way
    after = statistics(layer)
    assert (after[0] != before[0]).all()
    model.eval()
    model(inputs)
    torch.testing.assert_close(statistics(layer), after, rtol=0, atol=0)


def test_no_gradient_reaches_the_running_statistics():
    x, scale, bias, _ = example(SHAPES["vectors"])
    layer = make(scale, bias)
    layer(torch.tensor(x, requires_grad=True)).sum().backward()
    assert not layer.running_mean.requires_grad
    assert layer.running_mean.grad_fn is None
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_var"}


def test_a_constant_channel_far_from_zero_stays_finite():
    """In single precision the mean square less the squared mean comes out below zero."""
    layer = BatchNorm(3)
    x = torch.full((7, 3), 1234.567)
    out = layer(x)
    assert torch.isfinite(out).all()
    assert (layer.running_var >= 0).all()
    assert abs(out).max() < 0.2


RANK_CODE = """
import sys
import torch
import torch.distributed as dist
from workloads_overrides.base.pytorch_batch_norm import BatchNorm

folder = sys.argv[1]
dist.init_process_group("gloo")
for name, (x, cotangent) in torch.load(f"{folder}/inputs.pt").items():
    rows = len(x) // 2
    own = slice(dist.get_rank() * rows, (dist.get_rank() + 1) * rows)
    layer = BatchNorm(3).double()
    x = x[own].requires_grad_()
    out = layer(x)
    (out * cotangent[own]).sum().backward()
    grads = [layer.weight.grad, layer.bias.grad]
    for grad in grads:
        dist.all_reduce(grad)
    saved = [out.detach(), x.grad, *grads, layer.running_mean, layer.running_var]
    torch.save(saved, f"{folder}/{name}{dist.get_rank()}.pt")
dist.destroy_process_group()
"""


def test_two_processes_normalise_as_one(tmp_path):
    inputs = {name: example(shape) for name, shape in SHAPES.items()}
    inputs = {n: (torch.tensor(x), torch.tensor(c)) for n, (x, _, _, c) in inputs.items()}
    torch.save(inputs, tmp_path / "inputs.pt")
    run_pytorch_ranks(RANK_CODE, tmp_path)
    for name, (x, cotangent) in inputs.items():
        layer = BatchNorm(3).double()
        x.requires_grad_()
        out = layer(x)
        (out * cotangent).sum().backward()
        grads = (layer.weight.grad, layer.bias.grad)
        ranks = [torch.load(tmp_path / f"{name}{rank}.pt") for rank in range(2)]
        for i, whole in enumerate((out.detach(), x.grad)):
            both = torch.cat([rank[i] for rank in ranks])
            torch.testing.assert_close(both, whole, rtol=1e-12, atol=1e-12)
        for rank in ranks:
            expected = [*grads, *statistics(layer)]
            torch.testing.assert_close(rank[2:], expected, rtol=1e-12, atol=1e-12)
