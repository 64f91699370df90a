"""Identities of SOAP that hold whatever the implementation; see `identities` for their form."""

import itertools
from typing import Any

import numpy as np
from stacks import close, norms, orthogonal, signed_permutation, stream, transposed

from matprec.algorithms import adadiag, adafactor, nadamw, shampoo, soap

IDENTITIES = []
KEYS = ("left_basis", "right_basis")


def identity(function):
    IDENTITIES.append(function)
    return function


# Classes are looked up when called, so that a test may change them.
def make_soap(**hyperparameters: Any):
    return soap.SOAP(**hyperparameters)


def make_adam(**hyperparameters: Any):
    return nadamw.NAdamW(**{"beta1": 0.95, "beta2": 0.95, "nesterov": False} | hyperparameters)


def from_bases(start, **hyperparameters):
    """SOAP that starts from given bases and takes a power step even the first time."""

    class FromBases(soap.SOAP):
        def init(self, xp, grads):
            state = super().init(xp, grads)
            given = dict(zip(KEYS, start, strict=True))
            shapes = {key: state[key].shape for key in KEYS}
            return state | {
                key: xp.asarray(np.broadcast_to(given[key], shapes[key]).copy()) for key in KEYS
            }

        def decompose(self, xp, state, grads, *, first):
            return super().decompose(xp, state, grads, first=False)

    return FromBases(**hyperparameters)


def bases(state, shape):
    """Q_L and Q_R of a state, the identity for a side that it does not turn."""
    return [state.get(key, np.eye(n)) for key, n in zip(KEYS, shape, strict=True)]


def turn(x, q):
    return transposed(q[0]) @ x @ q[1]


def turn_back(x, q):
    return q[0] @ x @ transposed(q[1])


def diagonals(x):
    return np.diagonal(x, axis1=-2, axis2=-1)


def diagonal_of(x):
    """Matrices with everything off the diagonal set to zero."""
    return x * np.eye(x.shape[-1])


VARIANTS = (
    {"refresh_every": 1},
    {"refresh_every": 2, "shampoo_beta": 0.6},
    {"refresh_every": 2, "sides": "small"},
    {"refresh_every": 3, "start_step": 2, "max_dim": 5},
)

# ---------------------------------------- the first step, and reductions to Adam


@identity
def with_every_side_left_out_it_is_adam_one_call_late(shape, run):
    grads = stream(shape)
    for settings in ({}, {"nesterov": True}, {"beta1": 0}, {"beta2": 0.8}, {"beta2": 1.0}):
        updates, states = run(make_soap(max_dim=1, eps=1e-3, **settings), grads)
        expected, _ = run(make_adam(eps=1e-3, **settings), grads[1:])
        np.testing.assert_array_equal(updates[0], 0)
        close(updates[1:], expected, 1e-14)
        counters = {"t", "last_refresh", "failed_roots", "skipped_updates"}
        moments = {"second_moment"} if settings.get("beta1") == 0 else {"second_moment", "mean"}
        assert states[-1].keys() == counters | moments


@identity
def the_first_step_sets_the_bases_and_does_nothing_else(shape, run):
    grads, decay = stream(shape, steps=2), stream(shape, steps=1, seed=1)[0]
    updates, (state, _) = run(make_soap(shampoo_beta=0.7), grads, decay)
    for nothing in (updates[0], state["mean"], state["second_moment"]):
        np.testing.assert_array_equal(nothing, 0)
    grams = {"left": grads[0] @ transposed(grads[0]), "right": transposed(grads[0]) @ grads[0]}
    for side, gram in grams.items():
        close(state[side], 0.3 * gram, 1e-12)
        basis = state[f"{side}_basis"]
        close(transposed(basis) @ basis, np.eye(len(basis[0])) + 0 * basis, 1e-12)
        values = turn(state[side], (basis, basis))
        close(values, diagonal_of(values), 1e-12)
        assert np.all(np.diff(diagonals(values)) <= 1e-12 * values[:, :1, 0])
    plain, _ = run(make_soap(shampoo_beta=0.7), grads)
    close(updates[1] - plain[1], decay, 1e-12)


@identity
def within_one_refresh_period_it_is_adam_on_turned_gradients(shape, run):
    grads = stream(shape, steps=6)
    for settings in ({}, {"nesterov": True}, {"beta1": 0}, {"beta1": 0.5, "beta2": 1.0}):
        for sides in ("both", "small"):
            updates, states = run(make_soap(sides=sides, eps=1e-3, **settings), grads)
            q = bases(states[0], shape)
            expected, _ = run(make_adam(eps=1e-3, **settings), [turn(g, q) for g in grads[1:]])
            close(updates[1:], [turn_back(e, q) for e in expected], 1e-12)


@identity
def constant_gradients_give_the_polar_factor_damped_outside_the_root(shape, run):
    g, eps = stream(shape, steps=1)[0], 0.1
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    expected = (u * (s / (s + eps))[:, None, :]) @ vt
    for every in (1, 2, 9):
        for update in run(make_soap(eps=eps, refresh_every=every), [g] * 6)[0][1:]:
            close(update, expected)


# ---------------------------------------- moments and bases through refreshes


@identity
def the_first_moment_is_the_plain_average_in_other_coordinates(shape, run):
    grads = stream(shape, steps=8)
    for settings in VARIANTS:
        _, states = run(make_soap(beta1=0.8, **settings), grads)
        mean = 0.0 * grads[0]
        for g, state in zip(grads[1:], states[1:], strict=True):
            mean = 0.8 * mean + 0.2 * g
            close(turn_back(state["mean"], bases(state, shape)), mean, 1e-12)


@identity
def updates_take_the_bases_from_before_their_gradient(shape, run):
    grads, eps = stream(shape, steps=8), 1e-3
    for settings in VARIANTS:
        updates, states = run(make_soap(beta1=0.8, beta2=0.9, eps=eps, **settings), grads)
        mean = 0.0 * grads[0]
        for t, before in enumerate(states[:-1], 1):
            g, q = grads[t], bases(before, shape)
            mean = 0.8 * mean + 0.2 * g
            squares = 0.9 * before["second_moment"] + 0.1 * turn(g, q) ** 2
            root = np.sqrt(squares / (1 - 0.9**t)) + eps
            expected = turn_back(turn(mean / (1 - 0.8**t), q) / root, q)
            close(updates[t], expected, 1e-10)


def orders(before, state, shape):
    """Where the columns of each side's basis were before a power step."""
    found = []
    for side, n, basis in zip(("left", "right"), shape, bases(before, shape), strict=True):
        quotients = diagonals(turn(state[side], (basis, basis))) if side in state else None
        natural = np.tile(np.arange(n), (2, 1))
        found.append(natural if quotients is None else np.argsort(-quotients, kind="stable"))
    return found


def power_steps(run, shape, **settings):
    """(state before, state after, gradient) of every refresh but the first."""
    grads = stream(shape, steps=8)
    _, states = run(make_soap(beta2=0.9, shampoo_beta=0.6, **settings), grads)
    for before, state, g in zip(states, states[1:], grads[1:], strict=False):
        if before["last_refresh"][0] > 0 and state["last_refresh"][0] > before["last_refresh"][0]:
            yield before, state, g


@identity
def the_second_moment_moves_with_its_columns(shape, run):
    shuffled = 0
    for settings in ({}, {"sides": "small"}):
        for before, state, g in power_steps(run, shape, refresh_every=2, **settings):
            squares = 0.9 * before["second_moment"] + 0.1 * turn(g, bases(before, shape)) ** 2
            rows, columns = orders(before, state, shape)
            for one, (row, column) in enumerate(zip(rows, columns, strict=True)):
                close(state["second_moment"][one], squares[one][row][:, column], 1e-12)
                shuffled += np.any(np.diff(row) < 0) or np.any(np.diff(column) < 0)
    assert shuffled > 2


@identity
def a_refresh_is_one_orthogonal_iteration(shape, run):
    for before, state, _ in power_steps(run, shape, refresh_every=3):
        for side, order in zip(("left", "right"), orders(before, state, shape), strict=True):
            old, new = before[f"{side}_basis"], state[f"{side}_basis"]
            old = np.take_along_axis(old, order[:, None, :], axis=-1)
            close(transposed(new) @ new, np.eye(len(new[0])) + 0 * new, 1e-12)
            triangle = transposed(new) @ state[side] @ old
            close(np.triu(triangle), triangle, 1e-12)


@identity
def bases_refreshed_in_every_step_find_the_eigenvectors(shape, run):
    d = min(shape)
    singular = 2.0 ** -np.arange(d)
    columns = (orthogonal(n, seed)[:, :d] for seed, n in enumerate(shape))
    left, right = columns
    g = np.tile((left * singular) @ right.T, (2, 1, 1))
    start = [orthogonal(n, 7) for n in shape]
    _, states = run(from_bases(start, refresh_every=1), [g] * 16)
    for side, key, first in zip(("left", "right"), KEYS, start, strict=True):
        gram = states[0][side]
        values = turn(gram, (first, first))
        assert np.max(np.abs(values - diagonal_of(values))) > 0.1 * values.max()
        values = turn(gram, (states[-1][key],) * 2)
        close(values, diagonal_of(values), 1e-7)
        close(diagonals(values)[:, :d], np.tile(0.05 * singular**2, (2, 1)), 1e-7)


@identity
def bases_change_at_refreshes_only(shape, run):
    grads = stream(shape, steps=8)
    for settings, expected in (
        ({"refresh_every": 3}, [1, 1, 1, 4, 4, 4, 7, 7]),
        ({"refresh_every": 2, "start_step": 4}, [0, 0, 0, 4, 4, 6, 6, 8]),
    ):
        _, states = run(make_soap(**settings), grads)
        assert [int(state["last_refresh"][0]) for state in states] == expected
        for key in KEYS:
            identities = np.eye(states[0][key].shape[-1])
            assert np.array_equal(states[0][key][0], identities) == (expected[0] == 0)
            for before, after in itertools.pairwise(states):
                same = before["last_refresh"][0] == after["last_refresh"][0]
                assert np.array_equal(before[key], after[key]) == same


# ---------------------------------------- sides


@identity
def the_small_side_alone(shape, run):
    grads, (m, n) = stream(shape, steps=6), shape
    updates, states = run(make_soap(sides="small", refresh_every=2), grads)
    turned, other = ("left", "right") if m < n else ("right", "left")
    assert {turned, f"{turned}_basis"} < states[0].keys()
    assert not {other, f"{other}_basis"} & states[0].keys()
    if m != n:
        limited, _ = run(make_soap(max_dim=min(m, n), refresh_every=2), grads)
        np.testing.assert_array_equal(limited, updates)
        flipped, _ = run(make_soap(sides="small", refresh_every=2), [transposed(g) for g in grads])
        close(transposed(np.stack(flipped)), updates, 1e-10)
    both, _ = run(make_soap(refresh_every=2), grads)
    assert np.max(np.abs(np.subtract(both, updates))) > 1e-2
    none, _ = run(make_soap(sides="small", max_dim=min(m, n) - 1, refresh_every=2), grads)
    close(none[1:], run(make_adam(), grads[1:])[0], 1e-14)


@identity
def each_factor_keeps_its_own_average(shape, run):
    grads = stream(shape)
    for settings, beta in (({}, 0.95), ({"shampoo_beta": 0.5}, 0.5), ({"beta2": 1.0}, 1)):
        _, states = run(make_soap(**settings), grads)
        left, right, weight = 0.0, 0.0, 1 if beta == 1 else 1 - beta
        for g, state in zip(grads, states, strict=True):
            left = beta * left + weight * g @ transposed(g)
            right = beta * right + weight * transposed(g) @ g
            close(state["left"], left, 1e-12)
            close(state["right"], right, 1e-12)


# ---------------------------------------- Shampoo and Adafactor


@identity
def from_the_same_bases_it_is_adadiag_until_the_next_refresh(shape, run):
    grads = stream(shape, steps=6)
    settings: dict[str, Any] = {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3}
    expected, states = run(adadiag.AdaDiagPlusPlus(**settings), grads)
    start = [states[0][key] for key in KEYS]
    updates, _ = run(from_bases(start, start_step=100, **settings), [grads[3], *grads])
    close(updates[1:], expected, 1e-10)
    # Eigenvectors of G G^T are left singular vectors of G: here SOAP finds the bases by itself.
    one_sided, _ = run(adadiag.AdaDiag(**settings), grads)
    close(run(make_soap(sides="small", **settings), [grads[0], *grads])[0][1:], one_sided, 1e-9)
    if shape[0] == shape[1]:
        close(run(make_soap(**settings), [grads[0], *grads])[0][1:], expected, 1e-9)


@identity
def shampoo_with_halves_times_the_root_of_the_trace_is_adafactor_in_the_eigenbases(shape, run):
    """The theorem behind SOAP, for sums over the whole history."""
    grads = stream(shape)
    common = {"beta1": 0, "beta2": 1.0, "nesterov": False, "graft": "none", "refresh_every": 1}
    updates, states = run(shampoo.Shampoo(exponent=0.5, eps=0, **common), grads)
    total = sum(g @ transposed(g) for g in grads), sum(transposed(g) @ g for g in grads)
    q = [np.linalg.eigh(x)[1] for x in total]
    factored, _ = run(adafactor.Adafactor(beta1=0, beta2=1.0), [turn(g, q) for g in grads])
    trace = np.trace(states[-1]["left"], axis1=1, axis2=2)[:, None, None]
    close(np.sqrt(trace) * updates[-1], turn_back(factored[-1], q), 1e-6)


# ---------------------------------------- equivariance and invariance


def turned_difference(run, algorithm, along, a, b):
    """Largest entry of U(A G B^T) - A U(G) B^T, where `along` takes the turned gradients."""
    grads = stream((len(a), len(b)), steps=9)
    updates, _ = run(algorithm, grads)
    turned, _ = run(along, [a @ g @ b.T for g in grads])
    return np.max(np.abs(np.stack(turned) - a @ np.stack(updates) @ b.T))


@identity
def orthogonal_equivariance(shape, run):
    """Where the first factors have no null space, whose basis is arbitrary, or the start is given.

    A side that is not turned has Adam's: to signed permutations.
    """
    settings = {"refresh_every": 2, "eps": 1e-3}
    a, b = (orthogonal(n, 1) for n in shape)
    if shape[0] == shape[1]:
        both = make_soap(**settings)
        assert turned_difference(run, both, both, a, b) < 1e-8
    small = make_soap(sides="small", **settings)
    if shape[0] < shape[1]:
        assert turned_difference(run, small, small, a, signed_permutation(len(b), 3)) < 1e-8
    else:
        assert turned_difference(run, small, small, signed_permutation(len(a), 3), b) < 1e-8
    assert turned_difference(run, small, small, a, b) > 1e-2
    q, settings["start_step"] = [orthogonal(n, 4) for n in shape], 3
    along = from_bases([a @ q[0], b @ q[1]], **settings)
    assert turned_difference(run, from_bases(q, **settings), along, a, b) < 1e-8


@identity
def scale_and_sign(shape, run):
    grads = stream(shape, steps=6)
    for sides, factors in (("both", (2.0**-12, 8.0)), ("small", (1e-4, 3.0))):
        algorithm = make_soap(sides=sides, eps=1e-30, refresh_every=2)
        updates, _ = run(algorithm, grads)
        for c in factors:
            close(run(algorithm, [c * g for g in grads])[0][1:], updates[1:])
        negated, _ = run(algorithm, [-g for g in grads])
        np.testing.assert_array_equal(negated[1:], np.negative(updates[1:]))


@identity
def transposed_gradients_give_transposed_updates(shape, run):
    grads = stream(shape, steps=9)
    start, settings = [orthogonal(n, 5) for n in shape], {"refresh_every": 2, "start_step": 3}
    updates, _ = run(from_bases(start, **settings), grads)
    flipped, _ = run(from_bases(start[::-1], **settings), [transposed(g) for g in grads])
    close(transposed(np.stack(flipped)), updates, 1e-7)


# ---------------------------------------- zero and infinite


@identity
def zero_gradients(shape, run):
    zero, rest = np.zeros((2, *shape)), stream(shape, steps=4)
    updates, states = run(make_soap(refresh_every=2), [zero, zero, zero, *rest])
    np.testing.assert_array_equal(updates[:3], 0)
    for state in states[:3]:
        assert np.all(state["failed_roots"] == 0)
        for key in KEYS:
            np.testing.assert_array_equal(state[key], np.eye(len(state[key][0])) + 0 * state[key])
    assert np.all(norms(updates[3]) > 0)
    assert np.any(states[4]["left_basis"] != states[2]["left_basis"])
    _, states = run(make_soap(refresh_every=2, shampoo_beta=0.0), [*rest[:2], zero])
    np.testing.assert_array_equal(states[2]["left_basis"], states[1]["left_basis"])
    _, states = run(make_soap(refresh_every=100, shampoo_beta=0.6), [*rest, zero, zero])
    for key, beta in {"mean": 0.95, "second_moment": 0.95, "left": 0.6, "right": 0.6}.items():
        close(states[-1][key], beta**2 * states[-3][key], 1e-14)


@identity
def rows_and_columns_without_gradients_come_to_rest(shape, run):
    """Rounding errors in single precision, divided by their own root mean square, would not."""
    grads = []
    for g in stream(shape, steps=60):
        g[:, 1, :], g[:, :, 2] = 0, 0
        grads.append((g / norms(g)[:, None, None]).astype(np.float32))
    for sides in ("both", "small"):
        settings = {"beta1": 0.5, "beta2": 0.5, "shampoo_beta": 0.95, "sides": sides}
        for u in run(make_soap(refresh_every=3, **settings), grads)[0][40:]:
            assert u.dtype == np.float32
            assert np.max(np.abs(u[:, 1, :])) < 1e-5
            assert np.max(np.abs(u[:, :, 2])) < 1e-5
            assert np.all(norms(u) > 1)


@identity
def a_factor_that_is_not_finite_moves_nothing(shape, run):
    grads = stream(shape, steps=5)
    grads[2] = np.stack([grads[2][0], 1e200 * grads[2][1]])
    with np.errstate(over="ignore", invalid="ignore"):
        _, states = run(make_soap(beta2=0, shampoo_beta=0.9, refresh_every=2), grads)
    assert [list(state["failed_roots"]) for state in states] == [[0, 0]] * 2 + [[0, 1]] * 2 + [
        [0, 2]
    ]
    assert [list(state["last_refresh"]) for state in states[2:]] == [[3, 1], [3, 1], [5, 1]]
    for key in KEYS:
        np.testing.assert_array_equal(states[-1][key][1], states[0][key][1])
        assert np.all(np.isfinite(states[-1][key]))
