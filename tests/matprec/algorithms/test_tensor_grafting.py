"""Borrowed lengths over blocks through the adapters; starts, root methods and sizes of state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from matprec.algorithms import caspr, caspr_adaptive, kl_shampoo, nadamw
from matprec.jax import make_alias
from matprec.torch import make_class

EVERY = (caspr.CASPR, caspr_adaptive.CASPRAdaptive, kl_shampoo.KLShampoo)
SHAPES = {"wide": (5, 8), "square": (8, 8), "conv": (6, 4, 2, 2), "whole": (3, 4)}
BETAS = {"beta1": 0.8, "beta2": 0.95}
BLOCK = 4

over_all = pytest.mark.parametrize("algorithm", EVERY, ids=lambda cls: cls.__name__)


def gradients(steps=5, dtype=np.float64):
    rng = np.random.default_rng(5)
    return [
        {key: (rng.normal(size=s) * 10 ** rng.uniform(-1, 1)).astype(dtype) for key, s in
         SHAPES.items()}
        for _ in range(steps)
    ]  # fmt: skip


def torch_updates(algorithm, grads, **hyperparameters):
    """What lr = 1 subtracts from the parameters at every step."""
    params = {key: torch.nn.Parameter(torch.from_numpy(g * 0)) for key, g in grads[0].items()}
    optimizer = make_class(algorithm)(params.values(), lr=1.0, **hyperparameters)
    updates = []
    for grad in grads:
        for key, param in params.items():
            param.data.zero_()
            param.grad = torch.from_numpy(grad[key].copy())
        optimizer.step()
        updates.append({key: -param.detach().numpy().copy() for key, param in params.items()})
    return updates


def jax_updates(algorithm, grads, **hyperparameters):
    """The same from the optax adapter, under jit."""
    optimizer = make_alias("alias", algorithm)(
        learning_rate=1.0, weight_layout="out_in", **hyperparameters
    )
    params = {key: jnp.asarray(g) for key, g in grads[0].items()}
    state = optimizer.init(params)
    update = jax.jit(lambda g, s: optimizer.update(g, s, params))
    updates = []
    for grad in grads:
        new, state = update({key: jnp.asarray(g) for key, g in grad.items()}, state)
        updates.append({key: -np.asarray(value) for key, value in new.items()})
    return updates


def blocks(x):
    """Norms of the blocks of a tensor's matrix."""
    matrix = x.reshape(x.shape[0], -1)
    starts = [range(0, size, BLOCK) for size in matrix.shape]
    parts = [matrix[i : i + BLOCK, j : j + BLOCK] for i in starts[0] for j in starts[1]]
    return np.array([np.linalg.norm(part) for part in parts])


def lengths(algorithm):
    """Norms of all blocks of every step and tensor, of the algorithm and of NAdam."""
    grads = gradients()
    own = torch_updates(algorithm, grads, block_size=BLOCK, refresh_every=2, **BETAS)
    adam = torch_updates(nadamw.NAdamW, grads, **BETAS)
    for mine, theirs in zip(own, adam, strict=True):
        for key in SHAPES:
            yield key, blocks(mine[key]), blocks(theirs[key])


@pytest.mark.parametrize("algorithm", [caspr.CASPR, caspr_adaptive.CASPRAdaptive])
def test_a_tensor_has_the_length_of_nadam_over_its_blocks(algorithm):
    for key, mine, theirs in lengths(algorithm):
        np.testing.assert_allclose(np.linalg.norm(mine), np.linalg.norm(theirs), rtol=1e-12)
        assert (np.max(np.abs(mine - theirs)) > 1e-6) == (key != "whole")


def test_kl_shampoo_gives_every_block_the_length_of_nadam():
    for _, mine, theirs in lengths(kl_shampoo.KLShampoo):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@over_all
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_before_the_start_step_it_is_nadam_bit_for_bit(dtype, algorithm):
    grads = gradients(dtype=dtype)
    own = torch_updates(algorithm, grads, block_size=BLOCK, start_step=4, **BETAS)
    adam = torch_updates(nadamw.NAdamW, grads, **BETAS)
    for step, (mine, theirs) in enumerate(zip(own, adam, strict=True), 1):
        for key in SHAPES:
            assert np.array_equal(mine[key], theirs[key]) == (step < 4), (step, key)


def test_start_and_length_in_jax(x64):
    """Under jit NAdam itself is only equal up to rounding: XLA contracts products and sums."""
    grads = [{"wide": grad["wide"]} for grad in gradients()]
    own = jax_updates(caspr.CASPR, grads, block_size=BLOCK, start_step=3, **BETAS)
    adam = torch_updates(nadamw.NAdamW, grads, **BETAS)
    for step, (mine, theirs) in enumerate(zip(own, adam, strict=True), 1):
        mine, theirs = mine["wide"], theirs["wide"]
        assert np.allclose(mine, theirs, rtol=1e-13, atol=0) == (step < 3)
        np.testing.assert_allclose(np.linalg.norm(mine), np.linalg.norm(theirs), rtol=1e-12)


@over_all
def test_a_gradient_that_is_not_finite_skips_its_tensor_alone(algorithm):
    grads = gradients()
    grads[2]["square"][0, 0] = np.nan
    updates = torch_updates(algorithm, grads, block_size=BLOCK, refresh_every=1)
    assert np.all(updates[2]["square"] == 0)
    assert all(np.all(np.isfinite(update[key])) for update in updates for key in SHAPES)
    clean = torch_updates(algorithm, gradients(), block_size=BLOCK, refresh_every=1)
    for update, expected in zip(updates, clean, strict=True):
        np.testing.assert_array_equal(update["wide"], expected["wide"])


@over_all
@pytest.mark.parametrize("method", ["newton", "newton_schulz", "polar_express"])
def test_root_methods_give_the_same_directions(algorithm, method):
    common = {"refresh_every": 2, "eps": 1e-3, "eps_mode": "relative_mean", **BETAS}
    grads = gradients()
    expected = torch_updates(algorithm, grads, **common)
    for update, wanted in zip(
        torch_updates(algorithm, grads, root_method=method, **common), expected, strict=True
    ):
        for key in SHAPES:
            np.testing.assert_allclose(update[key], wanted[key], rtol=0, atol=1e-6)


def test_a_root_method_that_cannot_take_the_exponent_is_refused():
    caspr.CASPR(p=3, root_method="newton", eps_mode="relative_max")
    caspr.CASPR(p=2, root_method="polar_express", eps=1e-4)
    with pytest.raises(
        ValueError, match=r"'relative_mean' needs eps of at least 0.0001, not 1e-06"
    ):
        caspr.CASPR(root_method="newton")
    with pytest.raises(ValueError, match=r"^CASPR: root_method='polar_express' needs the exponent"):
        caspr.CASPR(p=3, root_method="polar_express", eps=1e-4)
    for algorithm in EVERY:
        with pytest.raises(ValueError, match="eps_mode='outside' needs root_method='eigh'"):
            algorithm(root_method="newton", eps_mode="outside")


@pytest.mark.parametrize("p", [0, -1, 1.5, 2.0])
def test_the_power_is_a_positive_integer(p):
    with pytest.raises(ValueError, match=r"^CASPR: p="):
        caspr.CASPR(p=p)


@over_all
def test_state_size(algorithm):
    """The published formula, with the sides and moments that a setting leaves out."""
    for m, n in ((3, 5), (5, 3), (4, 4)):
        grads = np.zeros((2, m, n))
        size = eval(algorithm.state_size, {"m": m, "n": n})
        assert elements(algorithm(), grads) == size
        assert elements(algorithm(beta1=0), grads) == size - m * n
        assert elements(algorithm(graft="sgd"), grads) == size - m * n
        left = (3 if algorithm is caspr_adaptive.CASPRAdaptive else 2) * m * m
        if m < n:
            assert elements(algorithm(max_dim=m), grads) == 2 * m * n + left
        if m > n:
            assert elements(algorithm(max_dim=n), grads) == 2 * m * n + 2 * n * n


def elements(algorithm, grads):
    state = algorithm.init(np, grads)
    return sum(value.size for value in state.values()) // len(grads)
