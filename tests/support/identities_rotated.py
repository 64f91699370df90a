"""Identities of AdaDiag, AdaDiag++ and GaLore, and of what every method in a singular basis shares.

Functions of a shape and of `run(algorithm, grads, decay=None)`, see `identities`.
"""

import itertools
from typing import Any

import numpy as np
from identities import turned_difference
from stacks import close, norms, orthogonal, polar, signed_permutation, stream, transposed

from matprec.algorithms import adadiag, adafacdiag, galore, hfac, nadamw

IDENTITIES = []
TINY = 1e-30  # an eps that only keeps 0 / 0 away


def identity(function):
    IDENTITIES.append(function)
    return function


# Classes are looked up when called, so that a test may change them.
def make_adadiag(**hyperparameters: Any):
    return adadiag.AdaDiag(**hyperparameters)


def make_plus_plus(**hyperparameters: Any):
    return adadiag.AdaDiagPlusPlus(**hyperparameters)


def make_galore(**hyperparameters: Any):
    return galore.GaLore(**hyperparameters)


def make_adam(**hyperparameters: Any):
    return nadamw.NAdamW(**{"nesterov": False} | hyperparameters)


ADAMS = {"adadiag": make_adadiag, "plus plus": make_plus_plus, "galore": make_galore}
ALL = ADAMS | {
    "galore 2": lambda **kw: make_galore(rank=2, **kw),
    "adafacdiag": lambda **kw: adafacdiag.AdafacDiag(**kw),
    "adafacdiag without": lambda **kw: adafacdiag.AdafacDiag(beta1=0, **kw),
    "adafacdiag plus plus": lambda **kw: adafacdiag.AdafacDiagPlusPlus(**kw),
    "hfacdiag": lambda **kw: hfac.HFacDiag(**kw),
}


def is_wide(shape):
    return shape[0] < shape[1]


def small_basis(g):
    """The basis of the small side and its order and signs, by way of the Gram matrix."""
    wide = g if is_wide(g.shape[-2:]) else transposed(g)
    _, vectors = np.linalg.eigh(wide @ transposed(wide))
    vectors = vectors[..., ::-1]
    seen = wide @ np.cos(1.0 + np.arange(wide.shape[-1]))
    products = np.einsum("bij,bi->bj", vectors, seen)
    return vectors * np.where(products < 0, -1.0, 1.0)[:, None, :]


def rotate(g, basis):
    return transposed(basis) @ g if is_wide(g.shape[-2:]) else g @ basis


def rotate_back(x, basis, shape):
    return basis @ x if is_wide(shape) else x @ transposed(basis)


def bases_of(state, shape):
    """(P, Q) of a state, the identity where a side is not rotated."""
    return tuple(
        state.get(f"{side}_basis", np.broadcast_to(np.eye(n), (2, n, n)))
        for side, n in zip(("left", "right"), shape, strict=True)
    )


# ---------------------------------------- what the bases are


@identity
def bases_are_singular_vectors_of_the_gradient_of_the_refresh(shape, run):
    grads = stream(shape)
    small = "left_basis" if is_wide(shape) else "right_basis"
    for name, make in ALL.items():
        _, states = run(make(refresh_every=2), grads)
        for t, state in enumerate(states):
            last = grads[t - t % 2]
            kept = state[small].shape[-1]
            close(state[small], small_basis(last)[..., :kept])
            p, q = bases_of(state, shape)
            rotated = transposed(p) @ last @ q
            gram = (
                rotated @ transposed(rotated) if is_wide(shape) else transposed(rotated) @ rotated
            )
            values = np.linalg.svd(last, compute_uv=False)[:, :kept]
            close(gram, values[:, :, None] ** 2 * np.eye(kept))
            if "plus plus" in name:
                expected = np.zeros_like(last)
                for matrix, s in zip(expected, values, strict=True):
                    np.fill_diagonal(matrix, s)
                close(rotated, expected)
                for basis in (p, q):
                    close(
                        transposed(basis) @ basis,
                        np.broadcast_to(np.eye(basis.shape[-1]), basis.shape),
                    )


@identity
def the_small_side_is_rotated_and_ties_go_right(shape, run):
    grads = stream(shape, steps=1)
    for name, make in ALL.items():
        (state,) = run(make(), grads)[1]
        found = {key for key in state if key.endswith("_basis")}
        both = "plus plus" in name
        assert found == (
            {"left_basis", "right_basis"}
            if both
            else {"left_basis" if is_wide(shape) else "right_basis"}
        )


@identity
def a_side_beyond_max_dim_is_left_out(shape, run):
    if shape[0] == shape[1]:
        return
    grads = stream(shape)
    one, _ = run(make_adadiag(refresh_every=2), grads)
    two, states = run(make_plus_plus(refresh_every=2, max_dim=max(shape) - 1), grads)
    np.testing.assert_array_equal(one, two)
    assert ("left_basis" in states[0]) == is_wide(shape)


@identity
def between_refreshes_the_bases_stay_bit_for_bit(shape, run):
    grads = stream(shape, steps=8)
    for make in ALL.values():
        for every, start, expected in (
            (3, 1, [1, 1, 1, 4, 4, 4, 7, 7]),
            (2, 4, [0, 0, 0, 4, 4, 6, 6, 8]),
        ):
            algorithm = make(refresh_every=every, start_step=start)
            _, states = run(algorithm, grads)
            assert [int(s["last_refresh"][0]) for s in states] == expected
            keys = [key for key in algorithm.refreshed if key in states[0]]
            assert keys
            for key, (before, after) in itertools.product(keys, itertools.pairwise(states)):
                same = before["last_refresh"][0] == after["last_refresh"][0]
                assert np.array_equal(before[key], after[key]) == same


# ---------------------------------------- reductions


@identity
def before_the_first_refresh_it_is_adam(shape, run):
    grads, decay = stream(shape), stream(shape, steps=1, seed=1)[0]
    common: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}
    for settings in (common, common | {"beta1": 0}):
        expected, _ = run(make_adam(**settings), grads, decay)
        for make in (make_adadiag, make_plus_plus, lambda **kw: make_galore(scale=1.0, **kw)):
            updates, _ = run(make(start_step=5, **settings), grads, decay)
            np.testing.assert_array_equal(updates[:4], expected[:4])
            assert np.max(np.abs(updates[4] - expected[4])) > 1e-3
    nadam, _ = run(make_adam(nesterov=True, **common), grads)
    for make in (make_adadiag, make_plus_plus):
        updates, _ = run(make(start_step=6, nesterov=True, **common), grads)
        np.testing.assert_array_equal(updates, nadam)


@identity
def in_a_fixed_basis_it_is_adam_on_the_rotated_problem(shape, run):
    grads = stream(shape)
    for settings in ({"beta1": 0.8}, {"beta1": 0, "beta2": 0.9}, {"nesterov": True}):
        common: dict[str, Any] = {"eps": 1e-3, "beta2": 0.95} | settings
        algorithms = [(make_adadiag(**common), 1.0), (make_plus_plus(**common), 1.0)]
        if "nesterov" not in settings:
            algorithms.append((make_galore(rank=2, scale=0.5, **common), 0.5))
        for algorithm, factor in algorithms:
            updates, states = run(algorithm, grads)
            p, q = bases_of(states[0], shape)
            expected, _ = run(make_adam(**common), [transposed(p) @ g @ q for g in grads])
            for u, e in zip(updates, expected, strict=True):
                close(u, factor * p @ e @ transposed(q))


@identity
def galore_at_full_rank_is_adadiag_bit_for_bit(shape, run):
    grads = stream(shape, steps=8)
    for every in (1, 3, 200):
        expected, _ = run(make_adadiag(refresh_every=every), grads)
        for rank in (min(shape), 128):
            updates, _ = run(make_galore(rank=rank, scale=1.0, refresh_every=every), grads)
            np.testing.assert_array_equal(updates, expected)
        lower, _ = run(make_galore(rank=min(shape) - 1, scale=1.0, refresh_every=every), grads)
        assert np.max(np.abs(np.subtract(lower, expected))) > 1e-2


@identity
def galore_has_moments_and_updates_of_its_rank(shape, run):
    grads, large = stream(shape), max(shape)
    for rank in (1, 2):
        updates, states = run(make_galore(rank=rank, refresh_every=2, eps=0), grads)
        inner = (2, rank, large) if is_wide(shape) else (2, large, rank)
        for u, state in zip(updates, states, strict=True):
            assert state["mean"].shape == state["second_moment"].shape == inner
            assert np.all(np.linalg.matrix_rank(u, tol=1e-10) == rank)
        close(norms(updates[0]), np.full(2, 0.25 * np.sqrt(rank * large)))
        doubled, _ = run(make_galore(rank=rank, refresh_every=2, eps=0, scale=0.5), grads)
        np.testing.assert_array_equal(doubled, 2 * np.asarray(updates))


@identity
def without_momentum_no_first_moment_is_stored(shape, run):
    grads = stream(shape)
    for make in ADAMS.values():
        _, states = run(make(beta1=0), grads)
        assert "mean" not in states[0]
        _, states = run(make(), grads)
        assert "mean" in states[0]


# ---------------------------------------- no accumulation, constant streams


@identity
def the_first_step_of_adadiag_has_adams_length(shape, run):
    for beta1, beta2 in ((0.9, 0.999), (0, 0.5), (0.5, 1.0)):
        (u,), _ = run(make_adadiag(eps=0, beta1=beta1, beta2=beta2), stream(shape, steps=1))
        close(norms(u) ** 2, np.full(2, shape[0] * shape[1]))


@identity
def without_accumulation_it_is_the_sign_in_the_basis(shape, run):
    grads = stream(shape)
    settings: dict[str, Any] = {"beta1": 0, "beta2": 0, "refresh_every": 1}
    for g, u in zip(grads, run(make_adadiag(eps=0, **settings), grads)[0], strict=True):
        basis = small_basis(g)
        close(u, rotate_back(np.sign(rotate(g, basis)), basis, shape))
    for g, u in zip(grads, run(make_plus_plus(eps=TINY, **settings), grads)[0], strict=True):
        close(u, polar(g))


@identity
def constant_gradients(shape, run):
    g = stream(shape, steps=1)[0]
    basis = small_basis(g)
    expected = rotate_back(np.sign(rotate(g, basis)), basis, shape)
    for every in (1, 2, 200):
        for u in run(make_adadiag(eps=0, refresh_every=every), [g] * 5)[0]:
            close(u, expected)
        for u in run(make_plus_plus(eps=TINY, refresh_every=every), [g] * 5)[0]:
            close(u, polar(g))


@identity
def rank_one_gradients(shape, run):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=shape[0]), rng.normal(size=shape[1])
    unit_a, unit_b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    one_sided = np.outer(unit_a, np.sign(b)) if is_wide(shape) else np.outer(np.sign(a), unit_b)
    for make, expected in (
        (make_adadiag, one_sided),
        (make_plus_plus, np.outer(unit_a, unit_b)),
        (lambda **kw: make_galore(rank=1, scale=1.0, **kw), one_sided),
    ):
        for every in (1, 2):
            grads = [np.outer(a, b)[None]] * 3
            for u in run(make(eps=TINY, refresh_every=every), grads)[0]:
                close(u[0], expected)


# ---------------------------------------- the first moment in a new basis


@identity
def a_turned_first_moment_is_the_average_of_the_plain_gradients(shape, run):
    grads = stream(shape, steps=8)
    for make in (make_adadiag, make_plus_plus):
        mean, kept = 0.0, []
        for turned in (True, False):
            algorithm = make(refresh_every=3, start_step=2, rotate_first_moment=turned)
            _, states = run(algorithm, grads)
            assert ("mean" in algorithm.refreshed_keys(states[0])) == turned
            kept.append(
                [p @ s["mean"] @ transposed(q) for s in states for p, q in [bases_of(s, shape)]]
            )
        for g, m in zip(grads, kept[0], strict=True):
            mean = 0.9 * mean + 0.1 * g
            close(m, mean)
        assert np.all(norms(kept[1][-1] - mean) > 1e-2 * norms(mean))


# ---------------------------------------- equivariance and invariance


def turn(shape, side, make=orthogonal, seed=1):
    """Matrices for the left and the right, the identity on all sides but `side`."""
    sides = {"small": is_wide(shape), "large": not is_wide(shape)}
    pairs = [make(n, seed) for n in shape]
    if side == "both":
        return pairs
    left = sides[side]
    return (pairs[0], np.eye(shape[1])) if left else (np.eye(shape[0]), pairs[1])


@identity
def orthogonal_equivariance_on_the_small_side_through_refreshes(shape, run):
    algorithms = {name: make(refresh_every=3) for name, make in ALL.items()} | {
        "every step": make_adadiag(refresh_every=1),
        "turned": make_adadiag(refresh_every=3, rotate_first_moment=True),
    }
    for name, algorithm in algorithms.items():
        # Null vectors of a large side are not determined.
        seen = (shape[0], shape[0]) if "plus plus" in name else shape
        assert turned_difference(run, algorithm, *turn(seen, "small")) < 1e-8


@identity
def on_the_large_side_only_signed_permutations(shape, run):
    signed = turn(shape, "large", signed_permutation)
    generic = turn(shape, "large")
    for settings in ({}, {"refresh_every": 3, "rotate_first_moment": True}):
        assert turned_difference(run, make_adadiag(**settings), *signed) < 1e-8
        assert turned_difference(run, make_adadiag(**settings), *generic) > 1e-2


@identity
def plus_plus_is_equivariant_on_both_sides(shape, run):
    """Through refreshes if the first moment turns along, else within one period (square)."""
    square = (shape[0], shape[0])
    both = turn(square, "both")
    assert turned_difference(run, make_plus_plus(), *both) < 1e-8
    turned = make_plus_plus(refresh_every=3, rotate_first_moment=True)
    assert turned_difference(run, turned, *both) < 1e-8
    # No sign rule that looks at the gradient alone can give more.
    assert turned_difference(run, make_plus_plus(refresh_every=3), *both) > 1e-2


@identity
def transposed_gradients_give_transposed_updates(shape, run):
    if shape[0] == shape[1]:
        return
    grads = stream(shape, steps=7)
    for name, make in ALL.items():
        # The null vectors of the large side are not determined beyond the first step.
        steps = 1 if "plus plus" in name else 7
        updates, _ = run(make(refresh_every=3), grads[:steps])
        flipped, _ = run(make(refresh_every=3), [transposed(g) for g in grads[:steps]])
        for u, f in zip(updates, flipped, strict=True):
            close(transposed(f), u)


@identity
def scale_and_sign(shape, run):
    grads = stream(shape)
    for name, make in ALL.items():
        eps = TINY if name in ADAMS or name == "galore 2" else 0.0
        updates, _ = run(make(refresh_every=2, eps=eps), grads)
        for c in (1e-4, 3.0, 1e5, -1.0):
            scaled, _ = run(make(refresh_every=2, eps=eps), [c * g for g in grads])
            for u, s in zip(updates, scaled, strict=True):
                close(s, np.sign(c) * u)


# ---------------------------------------- zero gradients


@identity
def zero_gradients_from_the_start(shape, run):
    for make in ALL.values():
        updates, states = run(make(refresh_every=2), [np.zeros((2, *shape))] * 4)
        np.testing.assert_array_equal(updates, 0)
        for state in states:
            assert all(np.all(np.isfinite(value)) for value in state.values())
            assert np.all(state["failed_roots"] == 0)
            for p in bases_of(state, shape):
                np.testing.assert_array_equal(p, np.broadcast_to(np.eye(*p.shape[1:]), p.shape))


@identity
def a_zero_gradient_at_a_refresh_keeps_the_basis(shape, run):
    zero, grads = np.zeros((2, *shape)), stream(shape, steps=6)
    grads[2] = np.stack([zero[0], grads[2][1]])
    turned = {"turned": lambda **kw: make_adadiag(rotate_first_moment=True, **kw)}
    for name, make in (ALL | turned).items():
        updates, states = run(make(refresh_every=2), grads)
        for key in (key for key in states[0] if key.endswith("_basis")):
            np.testing.assert_array_equal(states[2][key][0], states[1][key][0])
            assert np.max(np.abs(states[2][key][1] - states[1][key][1])) > 1e-2
        np.testing.assert_array_equal(states[2]["last_refresh"], 3)
        np.testing.assert_array_equal(states[-1]["failed_roots"], 0)
        assert np.all(np.isfinite(updates))
        assert np.all(norms(updates[3]) > 0)
        if name in (*ADAMS, "turned"):
            np.testing.assert_array_equal(states[2]["mean"][0], 0.9 * states[1]["mean"][0])
