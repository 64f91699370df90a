"""The order of a step's parts, what a conditional carries, and matrices that sit a step out."""

import dataclasses
import functools
from typing import Any, ClassVar

import array_api_compat.numpy as xp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from matprec import layout, linalg, transfer
from matprec import step as stepping
from matprec.algorithms import ASGO, Algorithm, MatrixAlgorithm, NAdamW, Shampoo

SHAPE = (3, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorder(MatrixAlgorithm):
    """Counts in its state what was done to it; `log` lists the calls."""

    log: Any = None

    refreshed: ClassVar = ("basis",)

    def __post_init__(self):
        pass

    def init(self, xp, grads):
        zeros = xp.zeros_like(grads)
        return {"seen": zeros, "basis": zeros, "basis_saw": zeros}

    def accumulate(self, xp, state, grads):
        self.log.append("accumulate")
        return state | {"seen": state["seen"] + 1.0}

    def refresh(self, xp, state, grads):
        self.log.append("refresh")
        ok = xp.all(grads >= 0, axis=(1, 2))
        return linalg.accept(xp, state, {"basis": state["seen"]}, ok)

    def direction(self, xp, state, grads, decay):
        self.log.append("direction")
        return grads + state["basis"], state | {"basis_saw": state["basis"]}


class Before(Recorder):
    refresh_at: ClassVar = "before"


class After(Recorder):
    refresh_at: ClassVar = "after"


class End(Recorder):
    refresh_at: ClassVar = "end"


class Never(Recorder):
    refresh_at: ClassVar = "never"


def ones(batch=2):
    return np.ones((batch, *SHAPE))


def run(number, due):
    """A step of the schedule."""
    return due.refresh(due.choose(True, True), due.carry)


def keep(number, due):
    """A step before the first one."""
    chosen = due.choose(False, False)
    return due.refresh(chosen, due.carry) if np.any(chosen) else due.carry


def between(number, due):
    """A step between those of the schedule."""
    return due.refresh(due.choose(False, True), due.carry)


def step(algorithm, state, grads, *, live=None, finite=None, decay=None, cond=run):
    everywhere = np.ones(len(grads), bool)
    (update,), (state,) = stepping.step(
        xp,
        [algorithm],
        [state],
        [grads],
        owners=[range(len(grads))],
        live=[everywhere if live is None else np.array(live)],
        finite=[everywhere if finite is None else np.array(finite)],
        decays=[decay],
        cond=cond,
    )
    return update, state


@pytest.mark.parametrize(
    ("cls", "log", "basis", "saw"),
    [
        (Before, ["refresh", "accumulate", "direction"], 0, 0),
        (After, ["accumulate", "refresh", "direction"], 1, 1),
        (End, ["accumulate", "direction", "refresh"], 1, 0),
        (Never, ["accumulate", "direction"], 0, 0),
    ],
)
def test_order(cls, log, basis, saw):
    algorithm = cls(log=[])
    state = stepping.init(xp, algorithm, ones())
    update, state = step(algorithm, state, ones())
    assert algorithm.log == log
    np.testing.assert_array_equal(state["basis"], basis)
    np.testing.assert_array_equal(state["basis_saw"], saw)
    np.testing.assert_array_equal(update, 1 + saw)
    np.testing.assert_array_equal(state["last_refresh"], 0 if cls is Never else 1)


@pytest.mark.parametrize("cls", [Before, After, End])
def test_a_conditional_carries_what_a_refresh_changes_and_nothing_else(cls):
    carried = []

    def cond(number, due):
        assert number == 0
        carried.append(set(due.carry))
        assert set(due.refresh(due.choose(True, True), due.carry)) == set(due.carry)
        return due.carry

    algorithm = cls(log=[])
    _, state = step(algorithm, stepping.init(xp, algorithm, ones()), ones(), cond=cond)
    assert carried == [{"basis", "last_refresh", "failed_roots"}]
    np.testing.assert_array_equal(state["last_refresh"], 0)


def test_refused_refreshes_are_counted_and_leave_last_refresh():
    algorithm = After(log=[])
    state = stepping.init(xp, algorithm, ones())
    for sign in ([1, 1], [1, -1], [-1, 1]):
        _, state = step(algorithm, state, ones() * np.array(sign)[:, None, None])
    np.testing.assert_array_equal(state["last_refresh"], [2, 3])
    np.testing.assert_array_equal(state["failed_roots"], [1, 1])
    np.testing.assert_array_equal(state["basis"][:, 0, 0], [2, 3])
    np.testing.assert_array_equal(state["t"], [3, 3])


@pytest.mark.parametrize(
    "algorithm",
    [ASGO(refresh_every=1), Shampoo(refresh_every=1), Shampoo(momentum=0.5), NAdamW()],
    ids=["asgo", "shampoo", "shampoo ball", "nadamw"],
)
def test_matrices_that_are_not_live_keep_their_state(algorithm):
    rng = np.random.default_rng(0)
    state = stepping.init(xp, algorithm, ones(3))
    _, state = step(algorithm, state, rng.normal(size=(3, *SHAPE)))
    grads, decay = rng.normal(size=(2, 3, *SHAPE))
    full, complete = step(algorithm, state, grads, decay=decay)
    bad = grads.copy()
    bad[1] = np.nan
    update, after = step(
        algorithm, state, bad, live=[True, False, False], finite=[True, False, True], decay=decay
    )
    np.testing.assert_array_equal(update[1:], 0)
    np.testing.assert_array_equal(update[0], full[0])
    for key, value in after.items():
        np.testing.assert_array_equal(value[0], complete[key][0])
        if key != "skipped_updates":
            np.testing.assert_array_equal(value[1:], state[key][1:])
    np.testing.assert_array_equal(after["skipped_updates"], [0, 1, 0])
    np.testing.assert_array_equal(after["t"], [2, 1, 1])


def test_decay_goes_where_it_is_seen():
    grads, decay = np.random.default_rng(0).normal(size=(2, 2, *SHAPE))
    for algorithm in (ASGO(), Shampoo(), NAdamW()):
        state = stepping.init(xp, algorithm, grads)
        plain, _ = step(algorithm, state, grads)
        with_decay, _ = step(algorithm, state, grads, decay=decay)
        np.testing.assert_array_equal(with_decay, plain)
    inside = Shampoo(momentum=0.5)
    assert inside.decay_inside
    state = stepping.init(xp, inside, grads)
    plain, _ = step(inside, state, grads)
    decayed, after = step(inside, state, grads, decay=decay)
    np.testing.assert_allclose(decayed, plain + 0.75 * decay, rtol=1e-13)
    assert np.max(np.abs(after["heavy_ball"])) > 0


def test_factors_of_decays_from_outside():
    def stack(*tensors, decayed=True):
        pieces = tuple(layout.Piece(tensor, (0, 0), SHAPE) for tensor in tensors)
        return layout.Stack(pieces, elementwise=False, decayed=decayed)

    asgo, inside = ASGO(), Shampoo(momentum=0.5)
    rows = {
        "of all its matrices": (stack(4, 0), asgo, [True, True], 0.5),
        "not live, and of a tensor in two pieces": (stack(1, 2, 2), asgo, [True, False, False], 2),
        "vectors": (stack(3, decayed=False), asgo, [True], 0.5),
        "seen by the algorithm": (stack(5), inside, [True], 0.5),
        "no decay": (stack(6), asgo, [True], 0.0),
        "an array": (stack(7), asgo, [True], np.zeros((), np.float32)),
    }
    stacks, algorithms, live, weights = zip(*rows.values(), strict=True)
    flags = [np.array(row) for row in live]
    dtypes = [np.dtype(np.float32)] * len(stacks)
    found = stepping.decay_factors(xp, stacks, algorithms, flags, weights, dtypes)
    assert found == {4: 0.5, 0: 0.5, 1: 2, 2: 0, 7: 0}
    assert {factor.dtype for factor in found.values()} == {np.dtype(np.float32)}
    assert {np.ndim(factor) for factor in found.values()} == {0}


def test_initial_state():
    for algorithm, keys in (
        (ASGO(), {"momentum", "statistics", "root"}),
        (Shampoo(), {"filtered", "left", "right", "left_root", "right_root", "second_moment"}),
        (Shampoo(graft="sgd"), {"filtered", "left", "right", "left_root", "right_root"}),
        (NAdamW(), {"mean", "second_moment"}),
    ):
        state = stepping.init(xp, algorithm, ones(2).astype(np.float32))
        assert set(state) == keys | set(stepping.COUNTERS)
        for key, value in state.items():
            assert value.dtype == np.float32
            assert len(value) == 2
            identity = key.endswith("root")
            np.testing.assert_array_equal(value[1], np.eye(value.shape[-1]) if identity else 0)
    # The documented numbers of state elements for a 3 x 4 matrix, m n = 12 and d = 3.
    sizes = {ASGO(): 12 + 2 * 9, Shampoo(): 24 + 2 * 25, NAdamW(): 24, Shampoo(graft="sgd"): 62}
    sizes[Shampoo(momentum=0.5)] = 36 + 2 * 25
    for algorithm, size in sizes.items():
        state = stepping.init(xp, algorithm, ones(1))
        assert sum(x.size for key, x in state.items() if key not in stepping.COUNTERS) == size


def test_totals():
    states = [
        {"failed_roots": np.array([1.0, 2.0]), "skipped_updates": np.array([0.0, 4.0])},
        {"failed_roots": np.array([5.0]), "skipped_updates": np.array([0.0])},
    ]
    assert stepping.totals(states) == {"failed_roots": 8, "skipped_updates": 4}
    assert stepping.totals([]) == {"failed_roots": 0, "skipped_updates": 0}


def test_is_due():
    def due(start, every):
        algorithm = ASGO(start_step=start, refresh_every=every)
        python = [bool(stepping.is_due(algorithm, t)) for t in range(1, 11)]
        traced = jax.jit(lambda t: stepping.is_due(algorithm, t))(jnp.arange(1, 11))
        np.testing.assert_array_equal(traced, python)
        return [t for t in range(1, 11) if python[t - 1]]

    assert due(1, 1) == list(range(1, 11))
    assert due(1, 4) == [1, 5, 9]
    assert due(3, 3) == [3, 6, 9]
    assert due(7, 2) == [7, 9]
    assert due(11, 1) == []


def test_the_base_class_has_no_mathematics():
    algorithm = Algorithm()
    for call in (
        lambda: algorithm.init(xp, ones()),
        lambda: algorithm.accumulate(xp, {}, ones()),
        lambda: algorithm.refresh(xp, {}, ones()),
        lambda: algorithm.direction(xp, {}, ones(), None),
    ):
        with pytest.raises(NotImplementedError):
            call()


# ---------------------------------------- first refreshes and norm transfer over tensors


class Twofold(After):
    """Its first refresh is not like later ones: it adds 10."""

    def decompose(self, xp, state, grads, *, first):
        self.log.append("first" if first else "later")
        return {"more": 10.0 * first * np.ones_like(state["seen"])}

    def refresh(self, xp, state, grads):
        return super().refresh(xp, state | {"seen": state["seen"] + state["more"]}, grads)


def test_a_first_refresh_of_its_own():
    algorithm = Twofold(log=[])
    state = stepping.init(xp, algorithm, ones())
    _, state = step(algorithm, state, ones())
    np.testing.assert_array_equal(state["basis"], 11)
    np.testing.assert_array_equal(state["last_refresh"], 1)
    _, state = step(algorithm, state, ones())
    np.testing.assert_array_equal(state["basis"], 2)
    assert algorithm.log == ["accumulate", "later", "first", "refresh", "direction"] * 2


@pytest.mark.parametrize(("first", "log"), [(True, "first"), (False, "later")])
def test_a_refresh_that_is_known_to_be_of_one_kind(first, log):
    algorithm = Twofold(log=[])
    state = stepping.init(xp, algorithm, ones())

    def cond(number, due):
        due = dataclasses.replace(due, refresh=dataclasses.replace(due.refresh, first=first))
        return run(number, due)

    _, state = step(algorithm, state, ones(), cond=cond)
    np.testing.assert_array_equal(state["basis"], 11 if first else 1)
    assert algorithm.log == ["accumulate", log, "refresh", "direction"]


class Late(End, Twofold):
    pass


def test_a_refresh_at_the_end_comes_after_the_update():
    """Nothing is asked for but the order: flags that wait for the update."""
    waited = []

    class Namespace(linalg.Replacing):
        def __getattr__(self, name):
            return getattr(xp, name)

        def after(self, flags, x):
            waited.append(x)
            return flags

    for cls, grafts in ((Late, False), (After, False), (Late, True)):
        waited.clear()

        class Algorithm(cls):
            def direction(self, xp, state, grads, decay, grafts=grafts):
                update, state = super().direction(xp, state, grads, decay)
                return (transfer.Graft(update, 1.0) if grafts else update), state

        algorithm = Algorithm(log=[])
        state, live = stepping.init(xp, algorithm, ones()), np.ones(2, bool)
        steps = stepping.advance(Namespace(), algorithm, state, ones(), live, live, None)
        update, _ = stepping.answered(steps, functools.partial(run, 0))
        assert len(waited) == (cls is Late)
        assert all(x is (update.direction if grafts else update) for x in waited)


def last(state):
    return list(state["last_refresh"])


@pytest.mark.parametrize("cls", [After, Twofold])
def test_the_first_refresh_waits_for_a_gradient(cls):
    """Also between the steps of the schedule; what has had its first is not touched then."""
    algorithm = cls(log=[])
    state, grads = stepping.init(xp, algorithm, ones()), ones()
    grads[1] = 0
    _, state = step(algorithm, state, ones(), cond=keep)
    assert last(state) == [0, 0]
    _, state = step(algorithm, state, grads)
    assert last(state) == [2, 0]
    _, state = step(algorithm, state, grads, cond=between)
    assert last(state) == [2, 0]
    _, state = step(algorithm, state, ones(), live=[True, False], cond=between)
    assert last(state) == [2, 0]
    _, state = step(algorithm, state, ones(), cond=between)
    assert last(state) == [2, 4]
    assert list(state["basis"][:, 0, 0]) == [2 + 10 * (cls is Twofold), 4 + 10 * (cls is Twofold)]
    assert stepping.any_waits(state, np.array([True, True])) is False
    _, state = step(algorithm, state, 0 * ones())
    assert last(state) == [6, 5]


def test_a_refused_first_refresh_waits_for_the_schedule():
    algorithm = After(log=[])
    state, bad = stepping.init(xp, algorithm, ones()), ones()
    bad[1] = -1
    _, state = step(algorithm, state, bad)
    for cond in (between, between):
        _, state = step(algorithm, state, ones(), cond=cond)
    assert last(state) == [1, 0]
    assert list(state["failed_roots"]) == [0, 1]
    _, state = step(algorithm, state, ones())
    assert last(state) == [4, 4]


class Grafted(Recorder):
    """Asks for twice its length."""

    def direction(self, xp, state, grads, decay):
        return transfer.Graft(grads, 4 * linalg.squares(xp, xp.abs(grads) + 1)), state


def test_lengths_are_transferred_over_whole_tensors():
    """Tensor 0 has one matrix in either stack, tensor 1 one, and each has the wanted length."""
    algorithm = Grafted(log=[])
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=(2, 3, 4)), rng.normal(size=(1, 2, 2))]
    grads[0][1] = 0
    states = [stepping.init(xp, algorithm, g) for g in grads]
    flags = [np.array([True, True]), np.array([True])]
    updates, _ = stepping.step(
        xp,
        [algorithm, algorithm],
        states,
        grads,
        owners=[(0, 1), (0,)],
        live=flags,
        finite=flags,
        decays=[None, None],
        cond=keep,
    )
    squares = [np.sum((np.abs(g) + 1) ** 2) for g in (grads[0][0], grads[1][0])]
    actual = np.sum(grads[0][0] ** 2) + np.sum(grads[1][0] ** 2)
    factor = 2 * np.sqrt(sum(squares) / actual)
    np.testing.assert_allclose(updates[0][0], factor * grads[0][0], rtol=1e-12)
    np.testing.assert_allclose(updates[1][0], factor * grads[1][0], rtol=1e-12)
    np.testing.assert_array_equal(updates[0][1], 0)


def test_what_is_passed_on_untouched_is_not_copied():
    algorithm = Never(log=[])
    state = stepping.init(xp, algorithm, ones())
    _, new = step(algorithm, state, ones())
    assert new["basis"] is state["basis"]
    assert new["seen"] is not state["seen"]
