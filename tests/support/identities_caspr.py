"""Identities of CASPR, of AlgoPerf's "CASPR Adaptive", and of what they share with KL-Shampoo.

Functions of a shape and of `run(algorithm, grads, decay=None)`, see `identities`.
"""

import itertools
from typing import Any

import array_api_compat.numpy
import numpy as np
from identities import make_asgo, make_nadamw, make_shampoo, turned_difference
from stacks import close, norms, orthogonal, polar, power, signed_permutation, stream, transposed

from matprec.algorithms import caspr, caspr_adaptive, kl_shampoo

IDENTITIES = []


def identity(function):
    IDENTITIES.append(function)
    return function


# Classes are looked up when called, so that a test may change them.
def make_caspr(graft: Any = "none", **hyperparameters: Any):
    return caspr.CASPR(graft=graft, **hyperparameters)


def make_adaptive(graft: Any = "none", **hyperparameters: Any):
    return caspr_adaptive.CASPRAdaptive(graft=graft, **hyperparameters)


def make_kl(graft: Any = "none", **hyperparameters: Any):
    return kl_shampoo.KLShampoo(graft=graft, **hyperparameters)


MAKERS = {"caspr": make_caspr, "adaptive": make_adaptive, "kl": make_kl}
ALGORITHMS = {
    "caspr": lambda **kw: make_caspr(**{"refresh_every": 2} | kw),
    "caspr 1": lambda **kw: make_caspr(**{"p": 1, "refresh_every": 1} | kw),
    "caspr 3 sum": lambda **kw: make_caspr(**{"p": 3, "beta2": 1.0, "refresh_every": 3} | kw),
    "caspr sgd": lambda **kw: make_caspr(**{"graft": "sgd", "start_step": 2} | kw),
    "adaptive": lambda **kw: make_adaptive(**{"refresh_every": 2} | kw),
    "adaptive sgd": lambda **kw: make_adaptive(**{"graft": "sgd", "refresh_every": 3} | kw),
    "kl": lambda **kw: make_kl(**{"refresh_every": 2} | kw),
    "kl sgd": lambda **kw: make_kl(**{"graft": "sgd", "refresh_every": 1} | kw),
}
WITH_ADAM = {
    f"{name} adam": lambda make=make, **kw: make(
        **{"graft": "adam", "graft_eps": 0.0, "refresh_every": 2} | kw
    )
    for name, make in MAKERS.items()
}
EVERY = ALGORITHMS | WITH_ADAM
GUARD = {"graft_eps": 1e-8}  # Adam's quotient is 0 / 0 without it


# ---------------------------------------- no accumulation, constant streams, damping


@identity
def without_accumulation_caspr_is_the_polar_factor(shape, run):
    grads = stream(shape)
    for p in (1, 2, 4):
        algorithm = make_caspr(p=p, beta1=0, beta2=0, eps=1e-13, refresh_every=1)
        for g, u in zip(grads, run(algorithm, grads)[0], strict=True):
            close(u, polar(g), 1e-7)


@identity
def damping_is_inside_the_roots_of_caspr(shape, run):
    g, eps = stream(shape, steps=1)[0], 0.1
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    squares = s**2
    total, top = np.sum(squares, -1, keepdims=True), squares[:, :1]
    ridges = {
        "absolute": (eps, eps),
        "relative_max": (eps * top, eps * top),
        "relative_mean": (eps * total / shape[0], eps * total / shape[1]),
    }
    for p, (mode, (left, right)) in itertools.product((1, 2, 3), ridges.items()):
        (update,), _ = run(make_caspr(p=p, eps=eps, eps_mode=mode, beta1=0), [g])
        mean = (squares + left) ** (-0.5 / p) / 2 + (squares + right) ** (-0.5 / p) / 2
        close(update, (u * (s * mean**p)[:, None, :]) @ vt)
    (update,), _ = run(make_caspr(eps=eps, beta1=0), [g])
    mean = sum((squares + ridge) ** -0.25 for ridge in ridges["relative_mean"]) / 2
    close(update, (u * (s * mean**2)[:, None, :]) @ vt)  # p = 2, relative_mean by default


@identity
def constant_gradients_give_caspr_the_polar_factor_at_every_step(shape, run):
    g = stream(shape, steps=1)[0]
    for p, every in itertools.product((1, 2), (1, 3)):
        common = {"p": p, "eps": 1e-13, "nesterov": False}
        for u in run(make_caspr(refresh_every=every, **common), [g] * 5)[0]:
            close(u, polar(g), 1e-7)
        summed = make_caspr(beta2=1.0, refresh_every=1, **common)
        for t, u in enumerate(run(summed, [g] * 5)[0], 1):
            close(u, polar(g) / np.sqrt(t), 1e-7)
        for kind, length in (("sgd", norms(g)), ("adam", np.full(2, np.sqrt(g[0].size)))):
            for u in run(make_caspr(graft=kind, graft_eps=0, **common), [g] * 5)[0]:
                close(u, polar(g) * (length / norms(polar(g)))[:, None, None], 1e-7)


# ---------------------------------------- CASPR between the one-sided methods and Shampoo


@identity
def caspr_of_order_one_is_the_mean_of_left_and_right_asgo(shape, run):
    grads = stream(shape, steps=7)
    for beta1, beta2, every in [(0.9, 0.8, 1), (0.5, 0.99, 3), (0.0, 1.0, 2)]:
        common = {"beta1": beta1, "beta2": beta2, "eps": 1e-4, "refresh_every": every}
        algorithm = make_caspr(p=1, nesterov=False, eps_mode="relative_max", **common)
        updates, _ = run(algorithm, grads)
        _, lefts = run(make_asgo(side="left", **common), grads)
        _, rights = run(make_asgo(side="right", **common), grads)
        steps = zip(grads, updates, lefts, rights, strict=True)
        for t, (g, u, left, right) in enumerate(steps, 1):
            momentum, seen = left.get("momentum", g), int(left["last_refresh"][0])
            mean = (left["root"] @ momentum + momentum @ right["root"]) / 2
            # ASGO's alignment makes it do without bias corrections.
            statistics = 1.0 if beta2 == 1 else 1 - beta2**seen
            close(u, mean * np.sqrt(statistics) / (1 - beta1**t))


@identity
def caspr_of_order_two_is_a_binomial_sum(shape, run):
    grads, eps = stream(shape), 1e-3
    m, left, right = np.zeros_like(grads[0]), 0.0, 0.0
    updates, _ = run(make_caspr(beta1=0.8, beta2=0.9, eps=eps, refresh_every=1), grads)
    for t, (g, u) in enumerate(zip(grads, updates, strict=True), 1):
        m = 0.8 * m + 0.2 * g
        left = 0.9 * left + 0.1 * g @ transposed(g)
        right = 0.9 * right + 0.1 * transposed(g) @ g
        damped = []
        for factor in (left, right):
            unbiased, order = factor / (1 - 0.9**t), factor.shape[-1]
            ridge = eps * np.trace(unbiased, axis1=1, axis2=2) / order
            damped.append(unbiased + ridge[:, None, None] * np.eye(order))
        mean = (0.8 * m + 0.2 * g) / (1 - 0.8**t)
        a, b = damped
        two_sided = power(a, -0.25) @ mean @ power(b, -0.25)
        close(u, (power(a, -0.5) @ mean + 2 * two_sided + mean @ power(b, -0.5)) / 4)


@identity
def caspr_tends_to_shampoo_as_p_grows(shape, run):
    grads = stream(shape)
    common = {"beta2": 0.9, "eps": 1e-3, "eps_mode": "relative_max", "refresh_every": 1}
    (*_, shampoo), _ = run(make_shampoo(graft="none", **common), grads)
    errors = {}
    for p in (32, 64):
        (*_, u), _ = run(make_caspr(p=p, **common), grads)
        errors[p] = u - shampoo
        assert np.all(norms(errors[p]) > 1e-4 * norms(shampoo))
    # With a = L^(-1/2) and b = R^(-1/2) the power mean is sqrt(ab) (1 + log(a/b)^2 / (8 p) + ...).
    close(2 * errors[64], errors[32], 0.05)


def operator(algorithm, state, which):
    """The direction as a matrix (m n, m n) on row-major vec(G), of one matrix of a stack."""
    shape = state["left"].shape[-1], state["right"].shape[-1]
    basis = np.eye(shape[0] * shape[1]).reshape(-1, *shape)
    same = {key: np.stack([value[which]] * len(basis)) for key, value in state.items()}
    update, _ = algorithm.direction(array_api_compat.numpy, same, basis, None)
    return update.reshape(len(basis), -1).T


def smallest(larger, smaller):
    """Smallest eigenvalue of the difference, over the largest of `larger`."""
    return np.min(np.linalg.eigvalsh(larger - smaller)) / np.linalg.norm(larger, 2)


def full_matrix(grads, which, eps, rank):
    """(eps I + sum vec(G) vec(G)^T / rank)^(1/2)."""
    rows = np.stack([g[which].reshape(-1) for g in grads])
    values, basis = np.linalg.eigh(rows.T @ rows / rank + eps * np.eye(rows.shape[1]))
    return (basis * np.sqrt(values)) @ basis.T


def preconditioners(run, grads, which, eps):
    """C(1), C(2), C(4), Shampoo's S, and X_L, X_R: the inverses of the linear directions."""
    settings: dict[str, Any] = {
        "beta1": 0, "beta2": 1.0, "eps": eps, "eps_mode": "absolute", "refresh_every": 1,
    }  # fmt: skip
    ladder = []
    for algorithm in (
        *(make_caspr(p=p, **settings) for p in (1, 2, 4)),
        make_shampoo(graft="none", **settings),
    ):
        _, (*_, state) = run(algorithm, grads)
        ladder.append(np.linalg.inv(operator(algorithm, state, which)))
    _, (*_, state) = run(make_caspr(p=1, **settings), grads)
    left, right = (np.linalg.inv(state[f"{side}_root"][which]) for side in ("left", "right"))
    return *ladder, np.kron(left, np.eye(len(right))), np.kron(np.eye(len(left)), right)


def low_rank(shape, rank):
    rng = np.random.default_rng([rank, *shape])
    m, n = shape
    return [rng.normal(size=(2, m, rank)) @ rng.normal(size=(2, rank, n)) for _ in range(4)]


@identity
def preconditioners_are_ordered(shape, run):
    eps = 0.1
    for rank, which in itertools.product((1, 2, min(shape)), (0, 1)):
        grads = low_rank(shape, rank)
        *ladder, left, right = preconditioners(run, grads, which, eps)
        root = full_matrix(grads, which, eps, rank)
        for lower, upper in itertools.pairwise([root, *ladder]):
            assert smallest(upper, lower) > -1e-9
            assert np.max(np.linalg.eigvalsh(upper - lower)) > 1e-2
        shampoo = ladder[-1]
        for one_sided in (left, right):
            assert smallest(one_sided, root) > -1e-9
            assert smallest(one_sided, shampoo) < -1e-2
            assert smallest(shampoo, one_sided) < -1e-2
        # Without the 1/r only a weaker bound holds.
        unscaled = full_matrix(grads, which, eps, 1)
        assert smallest(np.sqrt(rank) * ladder[0], unscaled) > -1e-9


@identity
def the_order_needs_the_rank(shape, run):
    """One gradient whose singular values are equal: the bound is attained, and fails without r."""
    eps, rank = 0.1, min(shape)
    grads = [polar(stream(shape, steps=1)[0])]
    first, *_ = preconditioners(run, grads, 0, eps)
    assert abs(smallest(first, full_matrix(grads, 0, eps, rank))) < 1e-9
    assert smallest(first, full_matrix(grads, 0, eps, 1)) < -0.4


# ---------------------------------------- one side


@identity
def with_one_side_left_out_they_are_asgo(shape, run):
    small, large = min(shape), max(shape) + 1
    common = {"beta1": 0.9, "beta2": 0.8, "eps": 1e-4, "refresh_every": 2}
    for side, form in (("left", (small, large)), ("right", (large, small))):
        grads = stream(form, steps=6)
        expected, states = run(make_asgo(side=side, **common), grads)
        for name, factor in (("caspr", 1.0), ("kl", np.sqrt(large))):
            settings = {"eps_mode": "relative_max", "nesterov": False, "max_dim": small}
            updates, own = run(MAKERS[name](**settings, **common), grads)
            assert own[0].keys() & {"left", "right"} == {side}
            for t, (u, asgo) in enumerate(zip(updates, states, strict=True), 1):
                root, momentum = asgo["root"], asgo["momentum"] / (1 - 0.9**t)
                direction = root @ momentum if side == "left" else momentum @ root
                seen = int(asgo["last_refresh"][0])
                close(u, factor * direction * np.sqrt(1 - 0.8**seen))
        adaptive = make_adaptive(nesterov=False, max_dim=small, **common)
        updates, own = run(adaptive, [1e3 * g for g in grads])
        assert own[0].keys() & {"left", "right"} == {side}
        for u, e in zip(updates, expected, strict=True):
            # Its factors start from 1e-6 I and I: not from zero.
            close(u / norms(u)[:, None, None], e / norms(e)[:, None, None], 1e-3)


# ---------------------------------------- CASPR Adaptive


@identity
def without_memory_caspr_adaptive_whitens_constant_gradients(shape, run):
    g = stream(shape, steps=1)[0]
    settings = {"beta1": 0, "beta2": 0, "eps": 1e-13, "refresh_every": 1}
    _, *later = run(make_adaptive(**settings), [g] * 4)[0]
    for u in later:  # the first step's right factor knows no left root yet
        close(u, np.sqrt(shape[0]) * polar(g), 1e-6)


def damped(factor, eps):
    """With a ridge relative to the largest eigenvalue."""
    top = np.linalg.norm(factor, 2, axis=(-2, -1))[:, None, None]
    return factor + eps * top * np.eye(factor.shape[-1])


@identity
def caspr_adaptive_carries_its_right_factor_over(shape, run):
    grads, eps, (m, n) = stream(shape, steps=7), 1e-3, shape
    for beta2, every in ((0.9, 1), (0.9, 3), (1.0, 2)):
        _, states = run(make_adaptive(beta2=beta2, eps=eps, refresh_every=every), grads)
        weight = 1 - beta2 if beta2 < 1 else 1.0
        left, right, root = 1e-6 * np.eye(m), np.eye(n), np.eye(m)
        before = np.broadcast_to(left, (2, m, m))
        for t, (g, state) in enumerate(zip(grads, states, strict=True), 1):
            white = root @ g
            left = beta2 * left + weight * g @ transposed(g)
            right = beta2 * right + weight * transposed(white) @ white / m
            close(state["left"], left)
            if (t - 1) % every == 0:
                root = power(damped(left, eps), -0.5)
                close(state["left_root"], root)
                close(state["right_root"], power(damped(right, eps), -0.5))
                carried = np.linalg.solve(damped(left, eps), before)
                right = right * (np.trace(carried, axis1=1, axis2=2) / m)[:, None, None]
                before = left
            close(state["right"], right)


@identity
def carried_over_history_is_whitened_by_the_current_root(shape, run):
    """What c is for: left Gram matrices of one shape, of full rank, of changing size."""
    m, n = sorted(shape)
    g = stream((m, n), steps=1)[0]
    sizes = [3e2, 1e3, 3e3, 1e4, 2e3, 5e2, 1e3]
    every, beta2 = 2, 0.9
    settings = {"beta2": beta2, "eps": 1e-12, "refresh_every": every}
    _, states = run(make_adaptive(**settings), [c * g for c in sizes])
    for t in (3, 5, 7):  # the refreshes but the first, which forgets what identities whitened
        white = states[t - 1]["left_root"] @ g
        weights = [(1 - beta2) * beta2 ** (t - i) * sizes[i - 1] ** 2 for i in range(2, t + 1)]
        close(states[t - 1]["right"], sum(weights) * transposed(white) @ white / m, 1e-3)


# ---------------------------------------- equivariance and invariance


@identity
def two_sided_methods_are_orthogonally_equivariant(shape, run):
    a, b = orthogonal(shape[0], 1), orthogonal(shape[1], 2)
    for make in ALGORITHMS.values():
        assert turned_difference(run, make(eps=1e-4), a, b) < 1e-8


@identity
def with_adams_length_they_are_equivariant_to_signed_permutations_only(shape, run):
    signed = [signed_permutation(n, seed) for seed, n in enumerate(shape)]
    for make in WITH_ADAM.values():
        assert turned_difference(run, make(eps=1e-4), *signed) < 1e-8
        assert turned_difference(run, make(), *(orthogonal(n, 3) for n in shape)) > 1e-2


@identity
def caspr_is_not_equivariant_to_invertible_matrices(shape, run):
    a = orthogonal(shape[0], 1) @ np.diag(np.linspace(0.5, 2, shape[0]))
    assert turned_difference(run, make_caspr(), a, orthogonal(shape[1], 2)) > 1e-2


@identity
def transposed_gradients_give_transposed_updates_but_to_caspr_adaptive(shape, run):
    grads = stream(shape)
    for name, make in EVERY.items():
        updates, _ = run(make(eps=1e-4), grads)
        flipped, _ = run(make(eps=1e-4), [transposed(g) for g in grads])
        if "adaptive" in name:
            assert np.all(norms(transposed(flipped[-1]) - updates[-1]) > 1e-2 * norms(updates[-1]))
            continue
        for u, f in zip(updates, flipped, strict=True):
            close(transposed(f), u)


@identity
def caspr_does_not_see_the_scale(shape, run):
    grads = stream(shape)
    for name, make in EVERY.items():
        if "caspr" not in name:
            continue
        updates, _ = run(make(), grads)
        for c in (1e-4, 3.0, 1e5):
            scaled, _ = run(make(), [c * g for g in grads])
            for u, s in zip(updates, scaled, strict=True):
                close(s, c * u if "sgd" in name else u)


@identity
def negated_gradients_give_negated_two_sided_updates(shape, run):
    for make in EVERY.values():
        updates, _ = run(make(), stream(shape))
        negated, _ = run(make(), [-g for g in stream(shape)])
        np.testing.assert_array_equal(negated, np.negative(updates))


@identity
def zero_gradients_stay_zero(shape, run):
    for name, make in EVERY.items():
        guard = GUARD if "adam" in name else {}
        updates, states = run(make(**guard), [np.zeros((2, *shape))] * 4)
        np.testing.assert_array_equal(updates, 0)
        for key, value in states[-1].items():
            assert np.all(np.isfinite(value)), (name, key)
        assert np.all(states[-1]["failed_roots"] == 0)


@identity
def a_zero_gradient_at_a_two_sided_refresh_freezes_nothing(shape, run):
    zero, rest = np.zeros((2, *shape)), stream(shape)
    for name, make in EVERY.items():
        guard = GUARD if "adam" in name else {}
        updates, _ = run(make(**guard), [zero, *rest])
        np.testing.assert_array_equal(updates[0], 0)
        assert np.all(norms(updates[1]) > 0)
        # Without memory the statistics of a later refresh can be zero, too.
        forgetful = make(**{"beta2": 0.0, "refresh_every": 2} | guard)
        updates, _ = run(forgetful, [*rest[:2], zero, *rest[2:]])
        assert np.all(norms(updates[3]) > 0)


@identity
def zero_gradients_let_two_sided_states_decay(shape, run):
    zero, decay = np.zeros((2, *shape)), 0.95
    for make in WITH_ADAM.values():
        algorithm = make(beta2=decay, refresh_every=10)
        updates, states = run(algorithm, [*stream(shape), zero, zero])
        assert np.all(np.isfinite(updates))
        close(states[-1]["filtered"], 0.9**2 * states[-3]["filtered"], 1e-14)
        for key in ("left", "right", "second_moment"):
            close(states[-1][key], decay**2 * states[-3][key], 1e-14)


@identity
def rank_one_gradients_keep_their_direction(shape, run):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=shape[0]), rng.normal(size=shape[1])
    g = np.outer(a, b)[None]
    unit = g / norms(g)[:, None, None]
    for make in ALGORITHMS.values():
        for u in run(make(eps=1e-10), [c * g for c in (1.0, 0.1, 3.0)])[0]:
            assert norms(u)[0] > 0.1
            close(u / norms(u)[:, None, None], unit, 1e-6)


# ---------------------------------------- lengths, statistics, schedules


@identity
def lengths_are_borrowed(shape, run):
    grads = stream(shape)
    for nesterov, make in itertools.product((True, False), MAKERS.values()):
        common = {"beta1": 0.8, "beta2": 0.9, "nesterov": nesterov}
        adam, _ = run(make_nadamw(eps=1e-8, **common), grads)
        for u, a in zip(run(make(graft="adam", **common), grads)[0], adam, strict=True):
            close(norms(u), norms(a), 1e-12)
        updates, states = run(make(graft="sgd", **common), grads)
        for t, (g, u, state) in enumerate(zip(grads, updates, states, strict=True), 1):
            filtered = state["filtered"]
            mean = 0.8 * filtered + 0.2 * g if nesterov else filtered
            close(norms(u), norms(mean) / (1 - 0.8**t), 1e-12)


@identity
def before_the_first_refresh_they_are_the_grafted_method(shape, run):
    grads = stream(shape)
    for beta1, make in itertools.product((0.9, 0.0), MAKERS.values()):
        common = {"beta1": beta1, "beta2": 0.99}
        algorithm = make(start_step=4, graft="adam", graft_eps=1e-8, **common)
        late, states = run(algorithm, grads)
        expected, _ = run(make_nadamw(eps=1e-8, **common), grads)
        np.testing.assert_array_equal(late[:3], expected[:3])
        assert np.max(np.abs(late[3] - expected[3])) > 1e-3
        assert [list(s["last_refresh"]) for s in states] == [[0, 0]] * 3 + [[4, 4]] * 2
        assert ("filtered" in states[0]) == (beta1 > 0)
        sgd, _ = run(make(start_step=4, graft="sgd", nesterov=False, **common), grads)
        plain, states = run(make(start_step=4, nesterov=False, **common), grads)
        np.testing.assert_array_equal(sgd[:3], plain[:3])
        if beta1 == 0:
            np.testing.assert_array_equal(plain[:3], grads[:3])


@identity
def sums_of_caspr_grow(shape, run):
    grads = stream(shape)
    _, states = run(make_caspr(beta2=1.0), grads)
    for key in ("left", "right"):
        previous = np.zeros_like(states[0][key])
        for t, state in enumerate(states, 1):
            assert np.all(np.linalg.eigvalsh(state[key] - previous) > -1e-10)
            previous = state[key]
            total = np.sum(np.square(grads[:t]), axis=(0, 2, 3))
            close(np.trace(previous, axis1=1, axis2=2), total, 1e-12)


@identity
def between_refreshes_two_sided_roots_stay_bit_for_bit(shape, run):
    grads = stream(shape, steps=7)
    for make in MAKERS.values():
        _, states = run(make(refresh_every=3, start_step=2), grads)
        assert [int(s["last_refresh"][0]) for s in states] == [0, 2, 2, 2, 5, 5, 5]
        for key in ("left_root", "right_root"):
            order = states[0][key].shape[-1]
            assert np.array_equal(states[0][key][0], np.eye(order))
            for before, after in itertools.pairwise(states):
                same = before["last_refresh"][0] == after["last_refresh"][0]
                assert np.array_equal(before[key], after[key]) == same
