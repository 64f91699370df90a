"""JAX, PyTorch and an independent NumPy reference take the same 20 steps in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from reference import optimizers as reference

import matprec.jax
import matprec.torch

# Canonical (out, in) shapes: wide, tall, square, thin, 1-D, 3-D and 4-D, and repeats to be stacked.
SHAPES = [(5, 12), (12, 5), (8, 8), (8, 8), (7,), (1, 6), (6, 4, 3, 2), (3, 4, 5), (9, 20), ()]
STEPS = 20

CASES = {
    "asgo": ("asgo", "ASGO", {}),
    "asgo every step": ("asgo", "ASGO", {"refresh_every": 1, "beta2": 0.95}),
    "asgo left sum": ("asgo", "ASGO", {"side": "left", "beta2": 1.0, "refresh_every": 3}),
    "asgo right": ("asgo", "ASGO", {"side": "right", "eps": 1e-4, "refresh_every": 4}),
    "shampoo": ("shampoo", "Shampoo", {}),
    "shampoo sgd": ("shampoo", "Shampoo", {"graft": "sgd", "nesterov": False, "refresh_every": 1}),
    "shampoo none": ("shampoo", "Shampoo", {"graft": "none", "beta2": 1.0, "refresh_every": 3}),
    "shampoo blocks": ("shampoo", "Shampoo", {"block_size": 5, "eps": 1e-4}),
    "shampoo winner": (
        "shampoo",
        "Shampoo",
        {
            "momentum": 0.5,
            "exponent": 0.5,
            "start_step": 4,
            "refresh_every": 4,
            "eps": 1e-4,
            "eps_mode": "absolute",
        },
    ),
    "nadamw": ("nadamw", "NAdamW", {}),
    "adamw": ("nadamw", "NAdamW", {"nesterov": False, "beta1": 0.95}),
}


def problem(seed):
    """Parameters and STEPS gradients: correlated, of changing scale, with two exactly zero."""
    rng = np.random.default_rng(seed)
    params = [rng.normal(size=shape) for shape in SHAPES]
    drift = [rng.normal(size=shape) for shape in SHAPES]
    grads = [
        [
            (0.3 * d + rng.normal(size=s)) * 10.0 ** rng.uniform(-2, 1)
            for s, d in zip(SHAPES, drift, strict=True)
        ]
        for _ in range(STEPS)
    ]
    grads[5][2] = np.zeros(SHAPES[2])
    grads[0][3] = np.zeros(SHAPES[3])
    return params, grads


def run_reference(name, hyperparameters, params, grads, lr, weight_decay):
    kwargs = dict(hyperparameters)
    if name == "NAdamW" and not kwargs.pop("nesterov", True):
        name = "AdamW"
    optimizer = getattr(reference, name)(SHAPES, lr=lr, weight_decay=weight_decay, **kwargs)
    for g in grads:
        params = optimizer.step(params, g)
    return params


def run_torch(name, hyperparameters, params, grads, lr, weight_decay):
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    optimizer = getattr(matprec.torch, name)(tensors, lr, weight_decay, **hyperparameters)
    for step_grads in grads:
        for tensor, g in zip(tensors, step_grads, strict=True):
            tensor.grad = torch.tensor(g)
        optimizer.step()
    return [tensor.detach().numpy() for tensor in tensors]


def run_jax(name, hyperparameters, params, grads, lr, weight_decay, layout="out_in"):
    flip, unflip = (to_flax, from_flax) if layout == "in_out" else (np.asarray, np.asarray)
    options = {} if name == "nadamw" else {"weight_layout": layout}
    optimizer = getattr(matprec.jax, name)(lr, weight_decay, **options, **hyperparameters)
    tree = [jnp.asarray(flip(p)) for p in params]
    state = optimizer.init(tree)

    @jax.jit
    def step(tree, state, g):
        updates, state = optimizer.update(g, state, tree)
        return optax.apply_updates(tree, updates), state

    for step_grads in grads:
        tree, state = step(tree, state, [jnp.asarray(flip(g)) for g in step_grads])
    return [unflip(np.asarray(x)) for x in tree]


def to_flax(x):
    """A tensor laid out as torch's, (out, in, ...), in flax's order; 3-D ones are kept."""
    return x.transpose(2, 3, 1, 0) if x.ndim == 4 else x.T if x.ndim == 2 else x


def from_flax(x):
    return x.transpose(3, 2, 0, 1) if x.ndim == 4 else to_flax(x)


def largest_difference(a, b):
    """Largest over tensors of the largest absolute difference over the largest entry."""
    return max(np.max(np.abs(x - y)) / np.max(np.abs(y)) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_three_implementations_agree(x64, case, weight_decay):
    alias, cls, hyperparameters = CASES[case]
    params, grads = problem(seed=sum(map(ord, case)))
    settings = (hyperparameters, params, grads, 0.05, weight_decay)
    oracle = run_reference(cls, *settings)
    from_torch = run_torch(cls, *settings)
    from_jax = run_jax(alias, *settings)
    assert largest_difference(from_torch, oracle) < 1e-10
    assert largest_difference(from_jax, oracle) < 1e-10
    assert largest_difference(from_jax, from_torch) < 1e-10


@pytest.mark.parametrize("case", ["asgo", "asgo left sum", "shampoo", "shampoo blocks"])
def test_flax_and_torch_layouts_agree(x64, case):
    alias, cls, hyperparameters = CASES[case]
    params, grads = problem(seed=7)
    settings = (hyperparameters, *_without_3d(params, grads), 0.05, 0.1)
    from_jax = run_jax(alias, *settings, layout="in_out")
    assert largest_difference(from_jax, run_torch(cls, *settings)) < 1e-10


def _without_3d(params, grads):
    """Three-dimensional tensors have no common layout by shape alone."""
    keep = [i for i, p in enumerate(params) if p.ndim != 3]
    return [params[i] for i in keep], [[g[i] for i in keep] for g in grads]
