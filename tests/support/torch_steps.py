"""Random parameters and gradients, steps and comparisons for the tests of `matprec.torch`."""

from typing import Any

import optimizers
import torch

# Two that are stacked, a vector, a row, a convolution, a scalar, an empty and a 1 x 1 matrix.
SHAPES = [(4, 3), (4, 3), (3,), (1, 5), (2, 3, 2, 2), (), (0, 3), (1, 1)]


def parameters(shapes: Any = SHAPES, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def make(name, params, lr: Any = 0.1, every=3, **settings: Any):
    """An optimizer with weight decay and a refresh every third step."""
    settings = {"weight_decay": 0.1} | optimizers.quick(name, every, **settings)
    return optimizers.torch_class(name)(params, lr, **settings)


def gradients(params, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    return [torch.randn(p.shape, generator=generator).to(p.dtype) for p in params]


def train(optimizer, params, steps, spoil=lambda step, grads: None):
    """Steps with the gradients of the given numbers, which `spoil` may change."""
    for step in steps:
        grads = gradients(params, step)
        spoil(step, grads)
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        optimizer.step()


def values(params):
    return [param.detach().clone() for param in params]


def same(params, others):
    """Which tensors are equal bit for bit."""
    return [torch.equal(p.detach(), q.detach()) for p, q in zip(params, others, strict=True)]


def finite(tensors):
    return all(torch.isfinite(x).all() for x in tensors)


def state_arrays(optimizer):
    """Every array of an optimizer's state."""
    states = optimizer.state_dict()["state"].values()
    return [array for state in states for arrays in state.values() for array in arrays]


def assert_close(tensors, others):
    """Relative to the largest entry of a tensor, which half precision may round to a neighbour."""
    tolerances = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 1e-2}
    for tensor, other in zip(tensors, others, strict=True):
        if other is None or other.numel() == 0:
            assert tensor is other or tensor.shape == other.shape
            continue
        assert tensor.dtype == other.dtype
        error = (tensor - other).abs().max()
        assert error <= tolerances[tensor.dtype] * other.abs().max()
