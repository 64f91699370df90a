"""Identities of the algorithms that hold whatever the implementation.

No accumulation, constant streams, damping, one-sided Shampoo, equivariance, scale, sign, zero and
rank-one gradients, lengths of updates, the inequality behind AdaGrad, and refresh schedules. Each
is a function of the shape (m, n) of a matrix and of `run(algorithm, grads, decay=None)`, which is
`stacks.run` in some array namespace; it raises AssertionError where the identity does not hold.
"""

import itertools
from typing import Any

import numpy as np
from stacks import (
    close,
    norms,
    orthogonal,
    polar,
    power,
    signed_permutation,
    stream,
    transposed,
)

from matprec import transfer
from matprec.algorithms import asgo, nadamw, shampoo

IDENTITIES = []


def identity(function):
    IDENTITIES.append(function)
    return function


# Classes are looked up when called, so that a test may change them.
def make_asgo(**hyperparameters: Any):
    return asgo.ASGO(**hyperparameters)


def make_shampoo(**hyperparameters: Any):
    return shampoo.Shampoo(**hyperparameters)


def make_nadamw(**hyperparameters: Any):
    return nadamw.NAdamW(**hyperparameters)


ALGORITHMS = {
    "asgo": lambda **kw: make_asgo(**{"refresh_every": 2} | kw),
    "asgo left": lambda **kw: make_asgo(**{"side": "left", "beta2": 1.0} | kw),
    "shampoo": lambda **kw: make_shampoo(**{"graft": "none", "refresh_every": 2} | kw),
    "shampoo sgd": lambda **kw: make_shampoo(**{"graft": "sgd", "refresh_every": 1} | kw),
    "shampoo ball": lambda **kw: make_shampoo(
        **{"graft": "sgd", "momentum": 0.5, "refresh_every": 2, "start_step": 2} | kw
    ),
}
WITH_ADAM = ALGORITHMS | {
    "shampoo adam": lambda **kw: make_shampoo(**{"refresh_every": 2, "graft_eps": 0.0} | kw),
    "nadamw": lambda **kw: make_nadamw(**{"eps": 0.0} | kw),
}


def scaled_polar(x):
    """What ASGO makes of a single gradient."""
    return 0.2 * np.sqrt(max(x.shape[-2:])) * polar(x)


# ---------------------------------------- no accumulation, constant streams, damping


@identity
def without_accumulation_asgo_is_the_polar_factor(shape, run):
    grads = stream(shape)
    algorithm = make_asgo(beta1=0, beta2=0, eps=0, refresh_every=1)
    updates, states = run(algorithm, grads)
    for g, u, state in zip(grads, updates, states, strict=True):
        left = shape[0] < shape[1]
        assert state["root"].shape[-1] == min(shape)
        close(state["root"] @ g if left else g @ state["root"], polar(g))
        close(u, scaled_polar(g))


@identity
def without_accumulation_shampoo_is_the_polar_factor(shape, run):
    grads = stream(shape)
    algorithm = make_shampoo(beta1=0, beta2=0, eps=0, graft="none", refresh_every=1)
    for g, u in zip(grads, run(algorithm, grads)[0], strict=True):
        close(u, polar(g), 1e-6)


@identity
def first_asgo_step_is_the_scaled_polar_factor_whatever_the_betas(shape, run):
    grads = stream(shape, steps=1)
    for beta1, beta2 in [(0.9, 0.8), (0.0, 0.99), (0.5, 0.0), (0.95, 1.0)]:
        (u,), _ = run(make_asgo(beta1=beta1, beta2=beta2, eps=0), grads)
        close(u, scaled_polar(grads[0]))


@identity
def asgo_with_momentum_alone_is_not_the_polar_factor_of_the_momentum(shape, run):
    updates, states = run(make_asgo(beta2=0, refresh_every=1), stream(shape))
    muon = scaled_polar(states[-1]["momentum"])
    assert np.all(norms(updates[-1] - muon) > 0.1 * norms(muon))


@identity
def constant_gradients_give_scaled_polar_factors_at_every_step(shape, run):
    g = stream(shape, steps=1)[0]
    for every in (1, 3):
        for u in run(make_asgo(eps=0, refresh_every=every), [g] * 5)[0]:
            close(u, scaled_polar(g))
        algorithm = make_shampoo(eps=0, graft="none", nesterov=False, refresh_every=every)
        for u in run(algorithm, [g] * 5)[0]:
            close(u, polar(g), 1e-6)
    summed = make_shampoo(eps=0, graft="none", nesterov=False, beta2=1.0, refresh_every=1)
    for t, u in enumerate(run(summed, [g] * 5)[0], 1):
        close(u, polar(g) / np.sqrt(t), 1e-6)


@identity
def constant_gradients_with_grafting_keep_the_grafted_length(shape, run):
    g = stream(shape, steps=1)[0]
    for kind, length in (("sgd", norms(g)), ("adam", np.full(2, np.sqrt(g[0].size)))):
        algorithm = make_shampoo(eps=0, graft=kind, graft_eps=0, nesterov=False)
        for u in run(algorithm, [g] * 5)[0]:
            close(u, polar(g) * (length / norms(polar(g)))[:, None, None], 1e-6)


@identity
def constant_gradients_through_the_heavy_ball(shape, run):
    g, mu = stream(shape, steps=1)[0], 0.6
    algorithm = make_shampoo(eps=0, graft="none", nesterov=False, momentum=mu)
    decay = stream(shape, steps=1, seed=1)[0]
    for t, u in enumerate(run(algorithm, [g] * 5, decay=decay)[0], 1):
        close(u, (1 - mu ** (t + 1)) * (polar(g) + decay), 1e-6)


@identity
def constant_gradients_give_adam_their_signs(shape, run):
    g = stream(shape, steps=1)[0]
    for u in run(make_nadamw(eps=0, nesterov=False), [g] * 5)[0]:
        close(u, np.sign(g))
    # NAdam's mixing with the divisor 1 - beta1^t overshoots by a factor that tends to one.
    for t, u in enumerate(run(make_nadamw(eps=0), [g] * 5)[0], 1):
        close(u, np.sign(g) * (1 - 0.9 ** (t + 1)) / (1 - 0.9**t))


@identity
def damping_is_inside_the_root(shape, run):
    g, eps = stream(shape, steps=1)[0], 0.1
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    squares = s**2
    top = squares[:, :1]

    def damped(filtered):
        return (u * filtered[:, None, :]) @ vt

    _, (state,) = run(make_asgo(eps=eps, beta2=0, beta1=0), [g])
    product = state["root"] @ g if shape[0] < shape[1] else g @ state["root"]
    close(product, damped(s / np.sqrt(squares + eps * top)))

    ridges = {
        "absolute": (eps, eps),
        "relative_max": (eps * top, eps * top),
        "relative_mean": tuple(eps * np.sum(squares, -1, keepdims=True) / d for d in shape),
    }
    for mode, (left, right) in ridges.items():
        algorithm = make_shampoo(eps=eps, eps_mode=mode, beta1=0, graft="none")
        (update,), _ = run(algorithm, [g])
        close(update, damped(s * (squares + left) ** -0.25 * (squares + right) ** -0.25))


# ---------------------------------------- reductions


def left_shampoo(**hyperparameters):
    """Shampoo without its right side: the library's own class with that root kept at identity."""

    class LeftShampoo(shampoo.Shampoo):
        def refresh(self, xp, state, grads):
            return super().refresh(xp, state, grads) | {"right_root": state["right_root"]}

    return LeftShampoo(graft="none", nesterov=False, exponent=0.5, **hyperparameters)


@identity
def one_sided_shampoo_is_asgo_on_the_left(shape, run):
    grads = stream(shape, steps=7)
    for settings in ({"refresh_every": 1}, {"refresh_every": 3, "beta2": 0.95}, {"beta2": 1.0}):
        common = {"beta1": 0.9, "beta2": 0.8, "eps": 1e-5} | settings
        expected, _ = run(make_asgo(side="left", **common), grads)
        for u, e in zip(run(left_shampoo(**common), grads)[0], expected, strict=True):
            assert np.max(np.abs(norms(u) - norms(e))) > 1e-3  # lengths differ before alignment
            close(transfer.align_rms(np, u, 0.2), e)


@identity
def asgo_on_one_row_is_adagrad(shape, run):
    rows = [g.reshape(2, 1, -1) for g in stream(shape, steps=6)]
    settings = {"beta1": 0, "beta2": 1.0, "refresh_every": 1}
    total = np.zeros((2, rows[0].shape[-1], rows[0].shape[-1]))
    _, narrow = run(make_asgo(eps=0, **settings), rows)
    _, full = run(make_asgo(side="right", eps=1e-3, **settings), rows)
    for g, one, many in zip(rows, narrow, full, strict=True):
        total += transposed(g) @ g
        close(one["root"][:, 0, 0], np.trace(total, axis1=1, axis2=2) ** -0.5)
        top = np.linalg.norm(total, 2, axis=(-2, -1))[:, None, None]
        close(many["root"], power(total + 1e-3 * top * np.eye(total.shape[-1]), -0.5))


@identity
def shampoo_before_its_first_refresh_is_the_grafted_method(shape, run):
    grads = stream(shape)
    common = {"beta1": 0.9, "beta2": 0.99}
    adam = make_shampoo(start_step=4, graft_eps=1e-8, **common)
    late, states = run(adam, grads)
    expected, _ = run(make_nadamw(eps=1e-8, **common), grads)
    np.testing.assert_array_equal(late[:3], expected[:3])
    assert np.max(np.abs(late[3] - expected[3])) > 1e-3
    assert [list(s["last_refresh"]) for s in states] == [[0, 0]] * 3 + [[4, 4]] * 2


@identity
def adam_without_momentum_divides_by_the_running_root_mean_square(shape, run):
    grads = stream(shape)
    updates, _ = run(make_nadamw(beta1=0, beta2=0.9, eps=1e-3), grads)
    for t, (g, u) in enumerate(zip(grads, updates, strict=True), 1):
        weights = 0.9 ** np.arange(t)[::-1]
        mean_square = np.average(np.square(grads[:t]), axis=0, weights=weights)
        close(u, g / (np.sqrt(mean_square) + 1e-3))


# ---------------------------------------- equivariance and invariance


def turned_difference(run, algorithm, a, b):
    """Largest over steps of |U(A G B^T) - A U(G) B^T| over |U(G)|, decay turned along."""
    shape = (len(a), len(b))
    grads, decay = stream(shape, steps=6), stream(shape, steps=1, seed=1)[0]
    plain, _ = run(algorithm, grads, decay)
    turned, _ = run(algorithm, [a @ g @ b.T for g in grads], a @ decay @ b.T)
    pairs = zip(turned, plain, strict=True)
    return max(np.max(norms(t - a @ p @ b.T) / norms(p)) for t, p in pairs)


@identity
def orthogonal_equivariance(shape, run):
    a, b = orthogonal(shape[0], 1), orthogonal(shape[1], 2)
    for make in ALGORITHMS.values():
        assert turned_difference(run, make(), a, b) < 1e-8


@identity
def adam_and_its_grafting_are_equivariant_to_signed_permutations_only(shape, run):
    for make in (WITH_ADAM["shampoo adam"], WITH_ADAM["nadamw"]):
        signed = [signed_permutation(n, seed) for seed, n in enumerate(shape)]
        assert turned_difference(run, make(), *signed) < 1e-8
        assert turned_difference(run, make(), *(orthogonal(n, 3) for n in shape)) > 1e-2


@identity
def asgo_is_not_equivariant_to_invertible_matrices(shape, run):
    a = orthogonal(shape[0], 1) @ np.diag(np.linspace(0.5, 2, shape[0]))
    assert turned_difference(run, make_asgo(), a, orthogonal(shape[1], 2)) > 1e-2


@identity
def transposed_gradients_give_transposed_updates(shape, run):
    grads = stream(shape)
    small = {"asgo"} if shape[0] != shape[1] else set()
    for name in small | (WITH_ADAM.keys() - {"asgo", "asgo left"}):
        updates, _ = run(WITH_ADAM[name](), grads)
        flipped, _ = run(WITH_ADAM[name](), [transposed(g) for g in grads])
        for u, f in zip(updates, flipped, strict=True):
            close(transposed(f), u)
    left, _ = run(make_asgo(side="left"), grads)
    right, _ = run(make_asgo(side="right"), [transposed(g) for g in grads])
    for u, f in zip(left, right, strict=True):
        close(transposed(f), u)


@identity
def ties_go_to_the_right_side(shape, run):
    grads = stream((shape[0], shape[0]))
    small, right = run(make_asgo(), grads)[0], run(make_asgo(side="right"), grads)[0]
    np.testing.assert_array_equal(small, right)
    assert np.max(np.abs(np.subtract(small, run(make_asgo(side="left"), grads)[0]))) > 1e-2


@identity
def scale(shape, run):
    grads = stream(shape)
    for name, make in WITH_ADAM.items():
        degree = 1 if name in ("shampoo sgd", "shampoo ball") else 0
        updates, _ = run(make(), grads)
        for c in (1e-4, 3.0, 1e5):
            scaled, _ = run(make(), [c * g for g in grads])
            for u, s in zip(updates, scaled, strict=True):
                close(s, c**degree * u)


@identity
def negated_gradients_give_negated_updates(shape, run):
    for make in WITH_ADAM.values():
        updates, _ = run(make(), stream(shape))
        negated, _ = run(make(), [-g for g in stream(shape)])
        np.testing.assert_array_equal(negated, np.negative(updates))


# Adam's quotient is 0 / 0 without its eps.
GUARDS = {"shampoo adam": {"graft_eps": 1e-8}, "nadamw": {"eps": 1e-8}}


@identity
def zero_gradients_from_the_start(shape, run):
    for name, make in WITH_ADAM.items():
        updates, states = run(make(**GUARDS.get(name, {})), [np.zeros((2, *shape))] * 4)
        np.testing.assert_array_equal(updates, 0)
        for key, value in states[-1].items():
            assert np.all(np.isfinite(value)), key
        assert np.all(states[-1]["failed_roots"] == 0)


@identity
def a_zero_gradient_at_a_refresh_freezes_nothing(shape, run):
    zero, rest = np.zeros((2, *shape)), stream(shape)
    for name, make in WITH_ADAM.items():
        updates, _ = run(make(**GUARDS.get(name, {})), [zero, *rest])
        np.testing.assert_array_equal(updates[0], 0)
        assert np.all(norms(updates[1]) > 0)
        # Without memory the statistics of a later refresh can be zero, too.
        forgetful = make(**{"beta2": 0.0} | GUARDS.get(name, {}))
        updates, _ = run(forgetful, [*rest[:2], zero, *rest[2:]])
        assert np.all(norms(updates[3]) > 0)


@identity
def zero_gradients_let_the_state_decay(shape, run):
    zero = np.zeros((2, *shape))
    decays = {
        "asgo": {"momentum": 0.9, "statistics": 0.8},
        "shampoo adam": {"filtered": 0.9, "left": 0.99, "right": 0.99, "second_moment": 0.99},
        "nadamw": {"mean": 0.9, "second_moment": 0.999},
    }
    for name, factors in decays.items():
        updates, states = run(WITH_ADAM[name](), [*stream(shape), zero, zero])
        assert np.all(np.isfinite(updates))
        for key, factor in factors.items():
            close(states[-1][key], factor**2 * states[-3][key], 1e-14)


@identity
def rank_one_gradients_are_normalised(shape, run):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=shape[0]), rng.normal(size=shape[1])
    g = np.outer(a, b)[None]
    unit = g / norms(g)[:, None, None]
    for name, eps in (("asgo", 1e-10), ("asgo left", 1e-10), ("shampoo", 1e-10)):
        for u in run(ALGORITHMS[name](eps=eps), [c * g for c in (1.0, 0.1, 3.0)])[0]:
            assert norms(u)[0] > 0.1
            close(u / norms(u)[:, None, None], unit, 1e-6)


# ---------------------------------------- lengths and inequalities


@identity
def lengths_of_updates(shape, run):
    grads = stream(shape)
    for rms in (0.2, 1.5):
        for u in run(make_asgo(rms=rms, refresh_every=2), grads)[0]:
            close(norms(u), np.full(2, rms * np.sqrt(shape[0] * shape[1])), 1e-13)
    for nesterov in (True, False):
        common = {"beta1": 0.8, "beta2": 0.9, "nesterov": nesterov}
        adam, _ = run(make_nadamw(eps=1e-8, **common), grads)
        for u, a in zip(run(make_shampoo(**common), grads)[0], adam, strict=True):
            close(norms(u), norms(a), 1e-12)
    updates, states = run(make_shampoo(graft="sgd", nesterov=False), grads)
    for t, (u, state) in enumerate(zip(updates, states, strict=True), 1):
        close(norms(u), norms(state["filtered"]) / (1 - 0.9**t), 1e-12)


@identity
def adagrad_inequality_for_summed_statistics(shape, run):
    grads = stream(shape, steps=8)
    settings = {"beta1": 0, "beta2": 1.0, "refresh_every": 1}
    for side in ("left", "right"):
        _, states = run(make_asgo(side=side, eps=1e-12, **settings), grads)
        summed = 0.0
        for g, state in zip(grads, states, strict=True):
            inner = g if side == "left" else transposed(g)
            summed = summed + np.einsum("bij,bik,bkj->b", inner, state["root"], inner)
        values = np.linalg.eigvalsh(states[-1]["statistics"])
        trace = np.sum(np.sqrt(np.maximum(values, 0)), axis=-1)
        assert np.all(trace <= summed * (1 + 1e-6))
        assert np.all(summed <= 2 * trace)


@identity
def statistics_grow_or_average(shape, run):
    grads = stream(shape)
    _, states = run(make_shampoo(beta2=1.0), grads)
    for key in ("left", "right"):
        previous = np.zeros_like(states[0][key])
        for t, state in enumerate(states, 1):
            assert np.all(np.linalg.eigvalsh(state[key] - previous) > -1e-10)
            previous = state[key]
            total = np.sum(np.square(grads[:t]), axis=(0, 2, 3))
            close(np.trace(previous, axis1=1, axis2=2), total, 1e-12)
    _, states = run(make_asgo(beta2=0.7), grads)
    lengths = np.sum(np.square(grads), axis=(2, 3))
    for t, state in enumerate(states, 1):
        average = np.trace(state["statistics"], axis1=1, axis2=2) / (1 - 0.7**t)
        assert np.all(average >= lengths[:t].min(0) * (1 - 1e-12))
        assert np.all(average <= lengths[:t].max(0) * (1 + 1e-12))


# ---------------------------------------- schedules


@identity
def refreshing_every_step_is_the_unamortised_method(shape, run):
    grads, eps = stream(shape), 1e-3
    m, v = np.zeros_like(grads[0]), 0.0
    updates, _ = run(make_asgo(side="right", eps=eps, refresh_every=1), grads)
    for g, u in zip(grads, updates, strict=True):
        m, v = 0.9 * m + 0.1 * g, 0.8 * v + 0.2 * transposed(g) @ g
        ridge = eps * np.linalg.norm(v, 2, axis=(-2, -1))[:, None, None]
        expected = m @ power(v + ridge * np.eye(shape[1]), -0.5)
        close(u / norms(u)[:, None, None], expected / norms(expected)[:, None, None])


@identity
def between_refreshes_the_roots_stay_bit_for_bit(shape, run):
    grads = stream(shape, steps=8)
    for algorithm, expected in (
        (make_asgo(refresh_every=3), [1, 1, 1, 4, 4, 4, 7, 7]),
        (make_shampoo(refresh_every=3, start_step=2), [0, 2, 2, 2, 5, 5, 5, 8]),
        (make_asgo(refresh_every=2, start_step=4), [0, 0, 0, 4, 4, 6, 6, 8]),
    ):
        _, states = run(algorithm, grads)
        assert [int(s["last_refresh"][0]) for s in states] == expected
        assert [int(s["t"][1]) for s in states] == list(range(1, 9))
        for key in algorithm.refreshed:
            order = states[0][key].shape[-1]
            assert np.array_equal(states[0][key][0], np.eye(order)) == (expected[0] == 0)
            for before, after in itertools.pairwise(states):
                same = before["last_refresh"][0] == after["last_refresh"][0]
                assert np.array_equal(before[key], after[key]) == same


@identity
def amortised_refreshes_change_nothing_under_constant_gradients(shape, run):
    g = stream(shape, steps=1)[0]
    for name, make in ALGORITHMS.items():
        if "left" in name:
            continue  # a running sum grows even then
        sparse, _ = run(make(refresh_every=3, start_step=1), [g] * 7)
        dense, _ = run(make(refresh_every=1, start_step=1), [g] * 7)
        for s, d in zip(sparse, dense, strict=True):
            close(s, d)
