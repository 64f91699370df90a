"""Identities of Adafactor, AdafacDiag and H-Fac.

What they share with AdaDiag because of their bases is in `identities_rotated`. Functions of a shape
and of `run(algorithm, grads, decay=None)`, see `identities`.
"""

from typing import Any

import numpy as np
from identities import turned_difference
from identities_rotated import bases_of, is_wide, turn
from stacks import close, norms, orthogonal, signed_permutation, stream, transposed

from matprec.algorithms import adafacdiag, adafactor, hfac, nadamw

IDENTITIES = []


def identity(function):
    IDENTITIES.append(function)
    return function


# Classes are looked up when called, so that a test may change them.
def make_adafactor(*, refresh_every: int = 1, **hyperparameters: Any):
    """It has nothing to refresh, how often ever."""
    return adafactor.Adafactor(**hyperparameters)


def make_without(**hyperparameters: Any):
    return make_adafactor(**{"beta1": 0} | hyperparameters)


def make_hfac(*, refresh_every: int = 1, **hyperparameters: Any):
    settings: dict[str, Any] = {"clip": None} | hyperparameters
    return hfac.HFac(**settings)


def make_adafacdiag(**hyperparameters: Any):
    return adafacdiag.AdafacDiag(**hyperparameters)


def make_plus_plus(**hyperparameters: Any):
    settings: dict[str, Any] = {"clip": None} | hyperparameters
    return adafacdiag.AdafacDiagPlusPlus(**settings)


def make_hfacdiag(**hyperparameters: Any):
    return hfac.HFacDiag(**hyperparameters)


PLAIN = {"adafactor": make_adafactor, "without": make_without, "hfac": make_hfac}
# Every rotated method with what it is for P = Q = I.
ROTATED = {
    "adafacdiag": (make_adafacdiag, make_adafactor),
    "adafacdiag without": (lambda **kw: make_adafacdiag(beta1=0, **kw), make_without),
    "plus plus": (make_plus_plus, make_adafactor),
    "plus plus without": (lambda **kw: make_plus_plus(beta1=0, **kw), make_without),
    "hfacdiag": (make_hfacdiag, make_hfac),
    "hfacdiag clipped": (
        lambda **kw: make_hfacdiag(clip=0.5, **kw),
        lambda **kw: make_hfac(clip=0.5, **kw),
    ),
}
EVERY = PLAIN | {name: make for name, (make, _) in ROTATED.items()}


def debiased(terms, beta):
    """Averages of the first t terms with weights beta^(t - k), for every t."""
    weights = [beta ** np.arange(t)[::-1] for t in range(1, len(terms) + 1)]
    return [np.average(terms[: len(w)], axis=0, weights=w) for w in weights]


# ---------------------------------------- factored second moments, averages


@identity
def second_moments_have_the_row_and_column_sums(shape, run):
    grads = stream(shape)
    updates, states = run(make_without(beta2=0.9), grads)
    for g, u, state in zip(grads, updates, states, strict=True):
        second_moment = (g / u) ** 2
        close(second_moment.sum(-1, keepdims=True), state["rows"])
        close(second_moment.sum(-2, keepdims=True), state["columns"])
        assert np.all(np.linalg.matrix_rank(second_moment, tol=1e-8 * np.max(second_moment)) == 1)


@identity
def time_corrected_averages_are_debiased_averages(shape, run):
    grads, beta1, beta2, eps = stream(shape, steps=7), 0.8, 0.95, 0.3
    squares = [g**2 + eps for g in grads]
    expected = {
        "rows": debiased([x.sum(-1, keepdims=True) for x in squares], beta2),
        "columns": debiased([x.sum(-2, keepdims=True) for x in squares], beta2),
        "mean": debiased(grads, beta1),
        "row_mean": debiased([g.mean(-1, keepdims=True) for g in grads], beta1),
        "column_mean": debiased([g.mean(-2, keepdims=True) for g in grads], beta1),
    }
    seen = set()
    for make in (make_adafactor, make_hfac):
        _, states = run(make(beta1=beta1, beta2=beta2, eps=eps), grads)
        for key in states[0].keys() & expected.keys():
            seen.add(key)
            for state, value in zip(states, expected[key], strict=True):
                close(state[key], value)
    assert seen == expected.keys()


@identity
def on_squares_of_rank_one_adafactor_is_adam(shape, run):
    rng = np.random.default_rng(5)
    profile = np.exp(rng.normal(size=(2, shape[0], 1)) + rng.normal(size=(2, 1, shape[1])))
    grads = [rng.normal() * profile * rng.choice([-1.0, 1.0], profile.shape) for _ in range(6)]
    for beta1, beta2 in ((0.9, 0.99), (0, 0.999), (0.5, 0.8)):
        adam = nadamw.NAdamW(beta1=beta1, beta2=beta2, eps=0, nesterov=False)
        expected, _ = run(adam, grads)
        updates, _ = run(make_adafactor(beta1=beta1, beta2=beta2), grads)
        for u, e in zip(updates, expected, strict=True):
            close(u, e)


@identity
def adafactor_in_the_eigenbases_of_its_statistics_is_shampoo_with_square_roots(shape, run):
    """sqrt(tr L) L^(-1/2) G R^(-1/2), L and R being sums over the history."""
    grads = stream(shape, steps=2 * max(shape))
    left = sum(g @ transposed(g) for g in grads)
    right = sum(transposed(g) @ g for g in grads)
    (a, p), (b, q) = np.linalg.eigh(left), np.linalg.eigh(right)
    inner = [transposed(p) @ g @ q for g in grads]
    updates, _ = run(make_without(beta2=1.0, eps=0), inner)
    inner_shampoo = inner[-1] / np.sqrt(a[:, :, None] * b[:, None, :])
    close(updates[-1], np.sqrt(a.sum(-1))[:, None, None] * inner_shampoo)


@identity
def summed_second_moments_shrink_constant_streams_by_the_root_of_time(shape, run):
    g = stream(shape, steps=1)[0]
    (first,), _ = run(make_without(), [g])
    for t, u in enumerate(run(make_without(beta2=1.0), [g] * 4)[0], 1):
        close(u, first / np.sqrt(t))


# ---------------------------------------- constant streams, first steps


@identity
def constant_gradients_change_nothing_after_the_first_step(shape, run):
    g = stream(shape, steps=1)[0]
    for make in EVERY.values():
        for u in run(make(refresh_every=2), [g] * 5)[0]:
            close(u, run(make(), [g])[0][0])


@identity
def first_steps_are_adafactor_without_momentum(shape, run):
    grads = stream(shape, steps=1)
    (expected,), _ = run(make_without(), grads)
    for make in (make_adafactor, make_hfac):
        for beta1, beta2 in ((0.9, 0.999), (0.5, 0.8)):
            close(run(make(beta1=beta1, beta2=beta2), grads)[0][0], expected)


@identity
def uniform_gradients_give_hfac_nesterovs_momentum(shape, run):
    """All entries equal: b u + (1 - b) g over the root mean square, b the decay of that step."""
    values, beta1, beta2 = np.random.default_rng(6).normal(size=(6, 2, 1, 1)), 0.8, 0.9
    grads = [value * np.ones(shape) for value in values]
    updates, _ = run(make_hfac(beta1=beta1, beta2=beta2), grads)
    means, squares = debiased(values, beta1), debiased(values**2, beta2)
    for t, (u, g, mean, square) in enumerate(zip(updates, values, means, squares, strict=True), 1):
        decay = beta1 * (1 - beta1 ** (t - 1)) / (1 - beta1**t)
        close(u, (decay * mean + (1 - decay) * g) / np.sqrt(square) * np.ones(shape))


@identity
def hfac_moves_by_its_factored_momentum(shape, run):
    """A zero gradient after some others leaves the momenta of rows and columns alone."""
    grads, zero = stream(shape, steps=4), np.zeros((2, *shape))
    beta1, beta2 = 0.8, 0.9
    updates, states = run(make_hfac(beta1=beta1, beta2=beta2), [*grads, zero])
    state, decay = states[-1], beta1 * (1 - beta1**4) / (1 - beta1**5)
    rows = state["row_mean"] / np.sqrt(state["rows"] / shape[1])
    columns = state["column_mean"] / np.sqrt(state["columns"] / shape[0])
    close(updates[-1], 0.5 * decay * (rows + columns))


@identity
def clipping_bounds_the_root_mean_square_and_keeps_the_direction(shape, run):
    grads = stream(shape)
    free, _ = run(make_hfac(beta1=0), grads)
    for bound in (0.3, 1.0, 100.0):
        clipped, _ = run(make_hfac(beta1=0, clip=bound), grads)
        for u, c in zip(free, clipped, strict=True):
            lengths = norms(u)
            most = np.minimum(lengths, bound * np.sqrt(shape[0] * shape[1]))
            close(c, u * (most / lengths)[:, None, None])
    assert np.max(np.subtract(free, run(make_hfac(beta1=0, clip=0.3), grads)[0])) > 1e-2


# ---------------------------------------- reductions


@identity
def before_the_first_refresh_it_is_the_plain_method(shape, run):
    grads, decay = stream(shape), stream(shape, steps=1, seed=1)[0]
    for rotated, plain in ROTATED.values():
        expected, _ = run(plain(), grads, decay)
        updates, _ = run(rotated(start_step=5), grads, decay)
        np.testing.assert_array_equal(updates[:4], expected[:4])
        assert np.max(np.abs(updates[4] - expected[4])) > 1e-3


@identity
def in_a_fixed_basis_it_is_the_plain_method_on_the_rotated_problem(shape, run):
    grads, eps = stream(shape), 1e-6  # above the rounding errors of the products here
    for rotated, plain in ROTATED.values():
        updates, states = run(rotated(eps=eps), grads)
        p, q = bases_of(states[0], shape)
        expected, _ = run(plain(eps=eps), [transposed(p) @ g @ q for g in grads])
        for u, e in zip(updates, expected, strict=True):
            close(u, p @ e @ transposed(q))


@identity
def without_momentum_no_first_moment_is_stored(shape, run):
    grads = stream(shape)
    means = {"mean", "row_mean", "column_mean"}
    for make in (make_adafactor, make_adafacdiag, make_plus_plus, make_hfac, make_hfacdiag):
        algorithm = make(beta1=0)
        assert not means & run(algorithm, grads)[1][0].keys()
        assert means & run(make(), grads)[1][0].keys()
        assert make().fallback_momentum
        # H-Fac's published fallback is Adam with both moments.
        is_hfac = make in (make_hfac, make_hfacdiag)
        assert algorithm.fallback_momentum == is_hfac
    expected, _ = run(make_without(), grads)
    np.testing.assert_array_equal(run(make_hfac(beta1=0), grads)[0], expected)


# ---------------------------------------- equivariance and invariance


def permutation(n, seed):
    return np.abs(signed_permutation(n, seed))


@identity
def plain_methods_are_equivariant_to_permutations_only(shape, run):
    for name, make in PLAIN.items():
        signed = [signed_permutation(n, seed) for seed, n in enumerate(shape)]
        plain = [permutation(n, seed) for seed, n in enumerate(shape)]
        generic = [orthogonal(n, seed) for seed, n in enumerate(shape)]
        assert turned_difference(run, make(), *plain) < 1e-8
        # Means over rows do not survive a change of single signs.
        assert (turned_difference(run, make(), *signed) < 1e-8) == (name != "hfac")
        assert turned_difference(run, make(), *generic) > 1e-2


@identity
def rotated_methods_are_equivariant_on_the_sides_that_they_rotate(shape, run):
    square = (shape[0], shape[0])
    for name, (make, _) in ROTATED.items():
        if "plus plus" in name:
            assert turned_difference(run, make(), *turn(square, "both")) < 1e-8
            continue
        assert turned_difference(run, make(refresh_every=3), *turn(shape, "small")) < 1e-8
        assert turned_difference(run, make(), *turn(shape, "large")) > 1e-2
        # Means over rotated rows depend on the signs of the basis, and these on the large side.
        signed = turn(shape, "large", signed_permutation)
        assert (turned_difference(run, make(), *signed) < 1e-8) == ("hfac" not in name)


@identity
def transposed_gradients_give_transposed_updates(shape, run):
    grads = stream(shape)
    for make in PLAIN.values():
        updates, _ = run(make(), grads)
        flipped, _ = run(make(), [transposed(g) for g in grads])
        for u, f in zip(updates, flipped, strict=True):
            close(transposed(f), u)


@identity
def scale_and_sign(shape, run):
    grads = stream(shape)
    for make in PLAIN.values():
        updates, _ = run(make(eps=0), grads)
        for c in (1e-4, 3.0, 1e5, -1.0):
            scaled, _ = run(make(eps=0), [c * g for g in grads])
            for u, s in zip(updates, scaled, strict=True):
                close(s, np.sign(c) * u)


@identity
def zero_gradients(shape, run):
    zero = np.zeros((2, *shape))
    for make in EVERY.values():
        for eps in (0.0, 1e-30):
            np.testing.assert_array_equal(run(make(eps=eps), [zero] * 3)[0], 0)
            updates, _ = run(make(eps=eps), [zero, *stream(shape), zero])
            assert np.all(np.isfinite(updates))
            assert np.all(norms(updates[1]) > 0)
    updates, states = run(make_adafactor(), [*stream(shape), zero])
    for key in ("rows", "columns"):
        beta, t = 0.999, 6
        corrected = beta * (1 - beta ** (t - 1)) / (1 - beta**t)
        close(states[-1][key], corrected * states[-2][key], 1e-12)


@identity
def rows_and_columns_of_zeros_get_no_update(shape, run):
    grads = stream(shape)
    for g in grads:
        g[:, 1, :] = g[:, :, 2] = 0.0
    for name, make in EVERY.items():
        # H-Fac's momenta reach whole columns and rows. Null vectors of a large side are arbitrary.
        if "hfac" in name or ("plus plus" in name and shape[0] != shape[1]):
            continue
        for u in run(make(refresh_every=2), grads)[0]:
            dead = max(np.max(np.abs(u[:, 1, :])), np.max(np.abs(u[:, :, 2])))
            assert dead < 1e-8 * np.max(np.abs(u))


@identity
def rank_one_gradients(shape, run):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=shape[0]), rng.normal(size=shape[1])
    unit_a, unit_b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    one_sided = np.outer(unit_a, np.sign(b)) if is_wide(shape) else np.outer(np.sign(a), unit_b)
    for make, expected in (
        (make_adafactor, np.outer(np.sign(a), np.sign(b))),
        (make_hfac, np.outer(np.sign(a), np.sign(b))),
        (make_adafacdiag, one_sided),
        (make_hfacdiag, one_sided),
        (make_plus_plus, np.outer(unit_a, unit_b)),
    ):
        for u in run(make(refresh_every=2), [np.outer(a, b)[None]] * 3)[0]:
            close(u[0], expected)
