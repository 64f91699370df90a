"""JAX, PyTorch and an independent NumPy reference take the same 20 steps in float64.

Every optimizer of the registry, with its defaults and in cases that between them change every
hyperparameter that its reference knows. A new name in the registry is tested by itself.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimizers
import pytest
import torch
from reference.optimizers import blocks_of, to_matrix

from matprec.algorithms import NAdamW

# Canonical (out, in) shapes: wide, tall, square, thin, 4-D, 3-D, 1-D, a row and a scalar. Many are
# of one shape as matrices, so that they are stacked: every stack costs compilation in JAX.
SHAPES = [
    *[(6, 6), (6, 6), (4, 9), (9, 4)],
    *[(4, 3, 3, 1), (6, 3, 2, 1), (3, 3, 4), (2, 3, 6), (7,), (1, 6), ()],
]
THIN = (2, 7)  # with the defaults only
# Unoptimised code, generated in one piece, is compiled in a third of the time.
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1}
STEPS = 20
SEED = 2  # no gradient of a square matrix has a condition number beyond 800
LEARNING_RATE = 0.05
# Of the largest entry of a tensor. A ridge of 1e-6 lets roots magnify rounding to 1e-10.
TOLERANCE = 1e-9

# What an optimizer does not have is left out; refreshes are in every second step unless given.
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "sums": {
        "start_step": 6,
        "refresh_every": 3,
        "beta2": 1.0,
        "nesterov": False,
        "graft": "sgd",
        "eps_mode": "absolute",
        "side": "left",
        "momentum": 0.5,
        "exponent": 0.5,
        "p": 1,
        "shampoo_beta": 0.8,
        "adjust_lr": "original",
        "rank": 3,
        "scale": 1.0,
        "clip": 0.5,
        "rotate_first_moment": True,
    },
    "no momentum": {
        "refresh_every": 1,
        "beta1": 0.0,
        "momentum": 0.0,
        "graft": "none",
        "side": "right",
        "sides": "small",
        "max_dim": 6,
        "ns_steps": 3,
        "clip": None,
    },
    "blocks": {
        "start_step": 6,
        "block_size": 3,
        "beta1": 0.5,
        "beta2": 0.9,
        "nesterov": True,
        "eps": 1e-4,
        "graft_eps": 1e-3,
        "p": 3,
    },
    "newton": {"root_method": "newton", "eps_mode": "absolute", "eps": 1e-3},
    "merged": {"merge": "meta", "block_size": 8},
}
ABOUT = {"newton": "root_method", "merged": "merge"}  # what an optimizer must have for a case
FEWER = {  # shapes that do for a case
    "newton": [(6, 6), (6, 6)],
    "merged": [(6, 6), (6, 6), (4, 9), (4, 3, 3, 1), (7,), (1, 6), ()],
}
# What some references do not know, and other tests cover: layouts, fallbacks, RMS alignment, roots.
ELSEWHERE = {"block_size", "precondition_head", "rms", "graft", "root_method", "stagger"}
ELSEWHERE |= {"refresh_every", "start_step"}  # of algorithms that have nothing to refresh
UNDECAYED = ("sums", "newton")  # in torch's layout; the other cases have decay, in flax's


def known(name):
    """Hyperparameters that both the algorithm and its reference have."""
    mine = optimizers.defaults(name).keys()
    theirs = {*optimizers.reference_parameters(optimizers.reference(name))}
    theirs |= {"nesterov"} if name == "nadamw" else {"merge"}  # references of their own
    if name in optimizers.REFRESHING_NAMES:
        theirs.add("start_step")  # the base of the references has it
    if "eps_mode" in mine:
        # Newton's method finds the root that the reference finds by eigendecomposition, unless the
        # ridge is relative to the largest eigenvalue, which it only estimates.
        theirs.add("root_method")
    return mine & theirs


def settings_of(name, case):
    """What a case changes for an optimizer, or None where it does not concern it."""
    given = {key: value for key, value in CASES[case].items() if key in known(name)}
    if (case != "defaults" and not given) or not given.keys() >= {*ABOUT.get(case, "").split()}:
        return None
    if given.get("beta2") == 1 and "rows" in optimizers.state_of_matrix(name, (3, 4)):
        given["beta2"] = 0.7  # references of factored moments have no sums
    inner = getattr(optimizers.ALGORITHMS[name](), "inner", None)
    if optimizers.turns_both_sides(name) and isinstance(inner, NAdamW):
        # P^T G Q is diagonal at a refresh. What rounding leaves beside the diagonal, Adam divides
        # by eps in the reference; the library drops it.
        given["eps"] = 1e-4
    return optimizers.quick(name, **given)


NAMES_AND_CASES = [
    (name, case)
    for name in optimizers.NAMES
    for case in CASES
    if settings_of(name, case) is not None
]


def shapes_of(name, case):
    """The shapes on which an optimizer can be compared.

    The directions of a side that gradients have not reached are arbitrary in a basis, and in a root
    without damping they are rounding errors. Gradients reach all of them when they are enough: a
    single one where the basis comes from it, else all up to the first refresh.
    """
    settings = settings_of(name, case) or {}
    accumulated = optimizers.ALGORITHMS[name].refresh_at != "before"
    count = settings.get("start_step", 1) if accumulated else 1

    def determined(shape):
        longest = max(optimizers.undamped_orders(name, shape, **settings), default=0)
        return longest <= count * min(shape)

    def comparable(shape):
        matrix = to_matrix(np.zeros(shape), "out_in").shape if len(shape) > 1 else (1, 1)
        blocks = blocks_of(matrix, settings.get("block_size"))
        return min(matrix) == 1 or all(determined(block) for _, block in blocks)

    shapes = [*SHAPES, THIN] if case == "defaults" else FEWER.get(case, SHAPES)
    return [shape for shape in shapes if comparable(shape)]


def problem(shapes, seed=SEED):
    """Parameters and STEPS gradients: correlated, of changing scale, with two exactly zero."""
    params, streams = [], []
    for place, shape in enumerate(shapes):
        rng = np.random.default_rng([seed, place, *shape])
        params.append(rng.normal(size=shape))
        drift = 0.3 * rng.normal(size=shape)
        scales = 10.0 ** rng.uniform(-2, 1, size=STEPS)
        streams.append([scale * (drift + rng.normal(size=shape)) for scale in scales])
    streams[0][5] = np.zeros(shapes[0])
    streams[1][0] = np.zeros(shapes[1])
    return params, [list(grads) for grads in zip(*streams, strict=True)]


def run_reference(name, settings, shapes, params, grads, weight_decay):
    kwargs = {key: value for key, value in settings.items() if key != "root_method"}
    reference = optimizers.reference(name)
    if kwargs.pop("merge", "matrix") == "meta":
        reference = optimizers.references()["MetaShampoo"]
    if name == "nadamw" and not kwargs.pop("nesterov", True):
        reference = optimizers.references()["AdamW"]
    start = settings.get("start_step", 1)
    if "start_step" not in optimizers.reference_parameters(reference):
        kwargs.pop("start_step", None)
    optimizer = reference(shapes, lr=LEARNING_RATE, weight_decay=weight_decay, **kwargs)
    optimizer.first_refresh = start
    for g in grads:
        params = optimizer.step(params, g)
    return params


def run_torch(name, settings, params, grads, weight_decay):
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in params]
    optimizer = optimizers.torch_class(name)(tensors, LEARNING_RATE, weight_decay, **settings)
    for step_grads in grads:
        for tensor, g in zip(tensors, step_grads, strict=True):
            tensor.grad = torch.tensor(g)
        optimizer.step()
    return [tensor.detach().numpy() for tensor in tensors]


def run_jax(name, settings, params, grads, weight_decay, weight_layout):
    flip, unflip = (to_flax, from_flax) if weight_layout == "in_out" else (np.asarray, np.asarray)
    optimizer = optimizers.alias(name)(
        LEARNING_RATE, weight_decay, weight_layout=weight_layout, **settings
    )
    tree = [jnp.asarray(flip(p)) for p in params]
    state = optimizer.init(tree)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def step(tree, state, g):
        updates, state = optimizer.update(g, state, tree)
        return optax.apply_updates(tree, updates), state

    for step_grads in grads:
        tree, state = step(tree, state, [jnp.asarray(flip(g)) for g in step_grads])
    return [unflip(np.asarray(x)) for x in tree]


def to_flax(x):
    """A tensor laid out as torch's, (out, in, ...), in flax's order, (..., in, out).

    Those of three dimensions here have (a b, c) as their matrix, and (c, a b) in flax's order.
    """
    return np.transpose(x, {4: (2, 3, 1, 0), 3: (2, 0, 1), 2: (1, 0)}.get(x.ndim))


def from_flax(x):
    return np.transpose(x, {4: (3, 2, 0, 1), 3: (1, 2, 0), 2: (1, 0)}.get(x.ndim))


def largest_difference(a, b):
    """Largest over tensors of the largest absolute difference over the largest entry."""
    return max(np.max(np.abs(x - y)) / np.max(np.abs(y)) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("name", "case"), NAMES_AND_CASES)
def test_three_implementations_agree(x64, name, case):
    settings, shapes = settings_of(name, case) or {}, shapes_of(name, case)
    assert shapes[:2] == [(6, 6), (6, 6)]
    params, grads = problem(shapes)
    weight_decay, weight_layout = (0.0, "out_in") if case in UNDECAYED else (0.1, "in_out")
    oracle = run_reference(name, settings, shapes, params, grads, weight_decay)
    in_torch = run_torch(name, settings, params, grads, weight_decay)
    in_jax = run_jax(name, settings, params, grads, weight_decay, weight_layout)
    assert largest_difference(in_torch, oracle) < TOLERANCE
    assert largest_difference(in_jax, oracle) < TOLERANCE
    assert largest_difference(in_jax, in_torch) < TOLERANCE


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_the_cases_change_all_that_the_reference_knows(name):
    changed = {
        key
        for case in CASES
        for key, value in (settings_of(name, case) or {}).items()
        if value != optimizers.defaults(name)[key]
    }
    assert changed == known(name)
    assert optimizers.defaults(name).keys() - changed <= ELSEWHERE
