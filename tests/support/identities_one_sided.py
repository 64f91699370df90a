"""Identities of ASGO's relatives and of Muon; see `identities` for their form."""

from typing import Any
from unittest import mock

import numpy as np
from identities import ALGORITHMS, scaled_polar, turned_difference
from stacks import close, norms, orthogonal, polar, signed_permutation, stream, transposed

from matprec import polar as quintics
from matprec import transfer
from matprec.algorithms import asgo, muon

IDENTITIES = []
COUNTERS = {"t", "last_refresh", "failed_roots", "skipped_updates"}


def identity(function):
    IDENTITIES.append(function)
    return function


# Classes are looked up when called, so that a test may change them.
def make_asgo(**hyperparameters: Any):
    return asgo.ASGO(**hyperparameters)


def make_theory(**hyperparameters: Any):
    return asgo.ASGOTheory(**hyperparameters)


def make_dasgo(**hyperparameters: Any):
    return asgo.DASGO(**hyperparameters)


def make_muon(**hyperparameters: Any):
    return muon.Muon(**hyperparameters)


MAKERS = {
    "theory": lambda **kw: make_theory(**{"eps": 1e-3} | kw),
    "dasgo": lambda **kw: make_dasgo(**kw),
    "muon": lambda **kw: make_muon(**kw),
    "muon original": lambda **kw: make_muon(**{"adjust_lr": "original", "nesterov": False} | kw),
}


def from_singular(function, g):
    """P diag(function(s)) Q^T for stacks G = P diag(s) Q^T."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    return (u * function(s)[:, None, :]) @ vt


def sides(shape):
    """The small side by both its names; there the statistics of one gradient are invertible."""
    return ("small", "left" if shape[0] < shape[1] else "right")


# ---------------------------------------- ASGO as it is analysed


@identity
def the_eps_of_the_theory_is_outside_the_root(shape, run):
    g = stream(shape, steps=1)[0]
    for eps in (1e-3, 0.7):
        for side in ("left", "right", "small"):
            (update,), (state,) = run(make_theory(eps=eps, side=side), [g])
            close(update, from_singular(lambda s, eps=eps: s / (s + eps), g))
            order = {"left": shape[0], "right": shape[1], "small": min(shape)}[side]
            assert state["root"].shape[-1] == order


@identity
def without_eps_the_theory_is_summing_asgo_before_its_alignment(shape, run):
    grads = stream(shape, steps=7)
    for side in sides(shape):
        for every in (1, 3):
            common = {"side": side, "eps": 0, "refresh_every": every}
            theory, states = run(make_theory(**common), grads)
            expected, _ = run(make_asgo(beta1=0, beta2=1.0, **common), grads)
            for t, (u, e, g, state) in enumerate(zip(theory, expected, grads, states, strict=True)):
                close(transfer.align_rms(np, u, 0.2), e)
                left = shape[0] < shape[1]
                close(state["root"] @ g if left else g @ state["root"], u, 1e-12)
                total = sum(
                    x @ transposed(x) if left else transposed(x) @ x for x in grads[: t + 1]
                )
                close(state["statistics"], total, 1e-12)


@identity
def the_theory_has_the_left_side_and_no_momentum(shape, run):
    grads = stream(shape)
    updates, states = run(make_theory(eps=0.1), grads)
    assert states[0].keys() == COUNTERS | {"statistics", "root"}
    assert states[0]["statistics"].shape == (2, shape[0], shape[0])
    assert [int(state["last_refresh"][0]) for state in states] == [1, 2, 3, 4, 5]
    order = [1, 2, 0, 3, 4]
    shuffled, _ = run(make_theory(eps=0.1), [grads[i] for i in order])
    close(shuffled[3:], updates[3:], 1e-10)  # only their sum remains of the past


@identity
def adagrads_lemma(shape, run):
    """tr V^{1/2} <= sum_t <G_t, U_t> <= 2 tr V^{1/2}."""
    grads = stream(shape, steps=8)
    for side in ("left", "right"):
        updates, states = run(make_theory(side=side, eps=1e-9), grads)
        summed = 0.0
        for g, u, state in zip(grads, updates, states, strict=True):
            summed = summed + np.sum(g * u, axis=(-2, -1))
            values = np.linalg.eigvalsh(state["statistics"])
            trace = np.sum(np.sqrt(np.maximum(values, 0)), axis=-1)
            assert np.all(trace <= summed * (1 + 1e-6))
            assert np.all(summed <= 2 * trace)


@identity
def constant_gradients_give_the_theory_polar_factors_that_shrink(shape, run):
    g = stream(shape, steps=1)[0]
    for t, u in enumerate(run(make_theory(eps=0, side="small"), [g] * 5)[0], 1):
        close(u, polar(g) / np.sqrt(t))


@identity
def root_methods_agree(shape, run):
    grads = stream(shape)
    expected, _ = run(make_asgo(eps=1e-3, refresh_every=2), grads)
    for method in ("newton", "newton_schulz", "polar_express"):
        algorithm = make_asgo(eps=1e-3, refresh_every=2, root_method=method)
        updates, states = run(algorithm, grads)
        assert np.all(states[-1]["failed_roots"] == 0)
        # The products estimate the largest eigenvalue, to which the ridge is relative.
        close(updates, expected, 1e-4)
        assert np.any(np.not_equal(updates, expected))


# ---------------------------------------- DASGO


def with_orthogonal_columns(shape, steps):
    """Gradients G with diagonal G^T G; of a wide G some columns are zero."""
    found, rank = [], min(shape)
    for g in stream(shape, steps):
        lengths = np.zeros((2, shape[1]))
        lengths[:, :rank] = norms(g)[:, None] * np.abs(g[:, 0, :rank])
        found.append(np.linalg.qr(g, mode="complete").Q[:, :, :rank] @ np.eye(rank, shape[1]))
        found[-1] = found[-1] * lengths[:, None, :]
    return found


@identity
def dasgo_is_asgo_on_the_right_where_columns_are_orthogonal(shape, run):
    grads = with_orthogonal_columns(shape, steps=6)
    for settings in ({"beta1": 0.9, "beta2": 0.8}, {"beta1": 0, "beta2": 1.0}, {"rms": 1.0}):
        common = {"beta2": 0.95} | settings
        expected, _ = run(make_asgo(side="right", eps=0, refresh_every=1, **common), grads)
        close(run(make_dasgo(eps=1e-30, **common), grads)[0], expected)


@identity
def dasgo_divides_columns_by_their_lengths(shape, run):
    grads, (m, n) = stream(shape), shape
    updates, states = run(make_dasgo(eps=0), grads)
    close(norms(transposed(updates[0])[..., None]), np.full((2, n), 0.2 * np.sqrt(m)), 1e-12)
    mean, squares = 0.0, 0.0
    for g, u, state in zip(grads, updates, states, strict=True):
        mean = 0.9 * mean + 0.1 * g
        squares = 0.95 * squares + 0.05 * norms(transposed(g)[..., None])[:, None, :] ** 2
        close(state["statistics"], squares, 1e-12)
        expected = mean / np.sqrt(squares)
        close(u, expected * (0.2 * np.sqrt(m * n) / norms(expected))[:, None, None], 1e-12)


@identity
def the_eps_of_dasgo_is_inside_the_root(shape, run):
    g = stream(shape, steps=1)[0]
    (u,), _ = run(make_dasgo(eps=2.0, beta1=0, beta2=0), [g])
    lengths = norms(transposed(g)[..., None])[:, None, :]
    expected = g / np.sqrt(lengths**2 + 2.0)
    close(u / norms(u)[:, None, None], expected / norms(expected)[:, None, None], 1e-12)


@identity
def constant_gradients_give_dasgo_the_same_at_every_step(shape, run):
    g = stream(shape, steps=1)[0]
    updates, _ = run(make_dasgo(eps=0), [g] * 5)
    for u in updates:
        close(u, updates[0], 1e-12)


# ---------------------------------------- Muon


def five_quintic_steps(s, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = s / np.sqrt(np.sum(s**2, axis=-1, keepdims=True))
    for _ in range(steps):
        x = a * x + b * x**3 + c * x**5
    return x


def scale_of(shape):
    return 0.2 * np.sqrt(max(shape))


@identity
def muon_maps_singular_values_by_five_quintics(shape, run):
    grads = stream(shape)
    updates, _ = run(make_muon(momentum=0), grads)
    for g, u in zip(grads, updates, strict=True):
        close(u, scale_of(shape) * from_singular(five_quintic_steps, g))
    three, _ = run(make_muon(momentum=0, ns_steps=3), grads)
    close(three[0], scale_of(shape) * from_singular(lambda s: five_quintic_steps(s, 3), grads[0]))


@identity
def muons_singular_values_are_near_one_for_well_conditioned_gradients(shape, run):
    d = min(shape)
    left, right = (orthogonal(n, seed)[:, :d] for seed, n in enumerate(shape))
    for smallest in (1.0, 0.1, 0.02):
        g = np.tile((left * np.geomspace(smallest, 1, d)) @ right.T, (2, 1, 1))
        (u,), _ = run(make_muon(), [g])
        values = np.linalg.svd(u, compute_uv=False) / scale_of(shape)
        assert np.all((values > 0.5) & (values < 1.5))
        # Every direction of the polar factor is there: Muon and ASGO point the same way.
        cosine = np.sum(u * polar(g), axis=(-2, -1)) / norms(u) / np.sqrt(d)
        assert np.all(cosine > 0.95)


@identity
def muon_with_an_accurate_polar_factor_is_asgo_without_accumulation(shape, run):
    grads = stream(shape)

    def accurate(xp, x, steps, *, original=quintics.polar_newton_schulz):
        return original(xp, x, steps, quintics.NEWTON_SCHULZ)

    with mock.patch.object(quintics, "polar_newton_schulz", accurate):
        updates, _ = run(make_muon(momentum=0, ns_steps=40), grads)
        first, _ = run(make_muon(ns_steps=40), grads[:1])
    expected, _ = run(make_asgo(beta1=0, beta2=0, eps=0, refresh_every=1), grads)
    close(updates, expected)
    close(updates, [scaled_polar(g) for g in grads])
    close(first[0], scaled_polar(grads[0]))


@identity
def muons_momentum(shape, run):
    grads = stream(shape)
    for nesterov in (True, False):
        mean, mixed = 0.0, []
        for g in grads:
            mean = 0.8 * mean + 0.2 * g
            mixed.append(0.2 * g + 0.8 * mean if nesterov else mean)
        updates, states = run(make_muon(momentum=0.8, nesterov=nesterov), grads)
        close(states[-1]["momentum"], mean, 1e-12)
        close(updates, run(make_muon(momentum=0), mixed)[0])


@identity
def muons_two_scales(shape, run):
    grads, (m, n) = stream(shape), shape
    matched, _ = run(make_muon(), grads)
    original, _ = run(make_muon(adjust_lr="original"), grads)
    close(
        np.multiply(original, 0.2 * np.sqrt(max(m, n))), np.multiply(matched, max(1, m / n) ** 0.5)
    )


# ---------------------------------------- all of them


@identity
def without_momentum_none_is_kept(shape, run):
    for make, gone in ((make_asgo, "beta1"), (make_dasgo, "beta1"), (make_muon, "momentum")):
        _, without = run(make(**{gone: 0}), stream(shape))
        _, states = run(make(), stream(shape))
        assert states[-1].keys() == without[-1].keys() | {"momentum"} > without[-1].keys()
    updates, states = run(make_asgo(beta1=0, refresh_every=1), stream(shape))
    for g, u, state in zip(stream(shape), updates, states, strict=True):
        product = state["root"] @ g if shape[0] < shape[1] else g @ state["root"]
        close(u, transfer.align_rms(np, product, 0.2), 1e-12)


@identity
def equivariance(shape, run):
    a, b = (orthogonal(n, 1) for n in shape)
    for name, make in MAKERS.items():
        signed = signed_permutation(len(b), 2)
        right = signed if name == "dasgo" else b
        assert turned_difference(run, make(), a, right) < 1e-8
        if name == "dasgo":
            assert turned_difference(run, make(), a, b) > 1e-2


@identity
def transposed_gradients_give_transposed_updates(shape, run):
    grads, (m, n) = stream(shape), shape
    flipped = [transposed(g) for g in grads]
    for side, other in (("left", "right"), ("right", "left")):
        updates, _ = run(make_theory(side=side, eps=1e-3), grads)
        close(transposed(np.stack(run(make_theory(side=other, eps=1e-3), flipped)[0])), updates)
    close(transposed(np.stack(run(make_muon(), flipped)[0])), run(make_muon(), grads)[0])
    updates = np.stack(run(make_muon(adjust_lr="original"), grads)[0])
    other = np.stack(run(make_muon(adjust_lr="original"), flipped)[0])
    close(transposed(other), updates * np.sqrt(max(1, n / m) / max(1, m / n)))


@identity
def scale_and_sign(shape, run):
    grads = stream(shape)
    for name, make in MAKERS.items():
        algorithm = make() if name.startswith("muon") else make(eps=0)
        updates, _ = run(algorithm, grads)
        for c in (1e-4, 3.0):
            close(run(algorithm, [c * g for g in grads])[0], updates, 1e-7)
        np.testing.assert_array_equal(run(algorithm, [-g for g in grads])[0], np.negative(updates))


@identity
def zero_gradients(shape, run):
    zero, rest = np.zeros((2, *shape)), stream(shape)
    for make in MAKERS.values():
        updates, states = run(make(), [zero, zero, *rest])
        np.testing.assert_array_equal(updates[:2], 0)
        assert np.all(np.isfinite(updates))
        assert np.all(norms(np.stack(updates[2:])) > 0)
        assert np.all(states[-1]["failed_roots"] == 0)
    decays = {"dasgo": {"momentum": 0.9, "statistics": 0.95}, "muon": {"momentum": 0.95}}
    for name, factors in decays.items():
        _, states = run(MAKERS[name](), [*rest, zero, zero])
        for key, factor in factors.items():
            close(states[-1][key], factor**2 * states[-3][key], 1e-14)


@identity
def rank_one_gradients_keep_their_direction(shape, run):
    rng = np.random.default_rng(3)
    g = np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))[None]
    for name, make in MAKERS.items():
        if name != "dasgo":  # which normalises each column
            for u in run(make(), [c * g for c in (1.0, 0.1, 3.0)])[0]:
                close(u / norms(u)[:, None, None], g / norms(g)[:, None, None], 1e-6)
    signs = np.sign(g) * np.abs(g).sum(-1, keepdims=True)
    for u in run(make_dasgo(eps=0), [g] * 3)[0]:
        close(u / norms(u)[:, None, None], signs / norms(signs)[:, None, None], 1e-12)


@identity
def lengths_of_updates(shape, run):
    m, n = shape
    for rms in (0.2, 1.5):
        for u in run(make_dasgo(rms=rms), stream(shape))[0]:
            close(norms(u), np.full(2, rms * np.sqrt(m * n)), 1e-13)
    for u in run(ALGORITHMS["asgo"](), stream(shape))[0]:
        close(norms(u), np.full(2, 0.2 * np.sqrt(m * n)), 1e-13)
