"""One step of all stacks: order of its parts, counters, non-finite gradients, norm transfer.

Both adapters differ only in how a refresh is made conditional, and in who does it. `step` is for
those that answer every stack's refresh at once, `advance` and `finish` are for those that collect
them.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Generator, Sequence
from typing import Any

from matprec import layout, linalg, transfer
from matprec.algorithms.base import Algorithm, Array, State

COUNTERS = ("t", "last_refresh", "failed_roots", "skipped_updates")


@dataclasses.dataclass(frozen=True, eq=False)
class Refresh:
    """`refresh(chosen, carry)`: the carry with the matrices refreshed that are `chosen` (B,).

    Everything it reads has the leading axis B and no row depends on another, so that it may be
    called with some rows of `chosen` and `carry` once it has been given the same ones `on`.

    Attributes:
      xp: array namespace.
      algorithm: whose refresh it is.
      state: arrays (B, ...); what is in the carry too is taken from there.
      grads: (B, m, n).
      first: whether it is the first one of what will be chosen; None for matrices of both kinds.
    """

    xp: Any
    algorithm: Algorithm
    state: State
    grads: Array
    first: bool | None = None

    def __call__(self, chosen: Array, carry: State) -> State:
        state = self.state | carry
        parts = self._parts(chosen, state)
        refreshed = self.algorithm.refresh(self.xp, state | parts, self.grads)
        accepted = refreshed["failed_roots"] == carry["failed_roots"]
        last = self.xp.where(accepted, self.state["t"], carry["last_refresh"])
        kept = {key: refreshed[key] for key in carry} | {"last_refresh": last}
        return _where(self.xp, chosen, kept, carry)

    def _parts(self, chosen: Array, state: State) -> State:
        """What `decompose` gives for those that are chosen, anything for the others."""

        def parts(first: bool) -> State:
            return self.algorithm.decompose(self.xp, state, self.grads, first=first)

        if type(self.algorithm).decompose is Algorithm.decompose or self.first is not None:
            return parts(bool(self.first))
        seen = _seen(state)
        return linalg.either(
            self.xp,
            chosen & ~seen,
            chosen & seen,
            functools.partial(parts, True),
            functools.partial(parts, False),
        )

    def on(self, take: Callable[[Array], Array]) -> "Refresh":
        """The same for what `take` leaves of every array, some rows."""
        state = {key: take(value) for key, value in self.state.items()}
        return dataclasses.replace(self, state=state, grads=take(self.grads))


@dataclasses.dataclass(frozen=True, eq=False)
class Due:
    """A refresh that the step of a stack has come to. Its answer is
    `refresh(choose(scheduled, started), carry)`, or just the carry where nothing is chosen.

    Attributes:
      algorithm: the stack's.
      choose: gives the (B,) matrices to refresh. `scheduled`, one boolean or (B,), says whether
        this is a step of theirs, see `is_due`, `started` whether start_step has been reached; both
        may be traced.
      refresh: what to do.
      carry: the part of the state that a refresh may change.
    """

    algorithm: Algorithm
    choose: Callable[[Any, Any], Array]
    refresh: Refresh
    carry: State


Conditional = Callable[[int, Due], State]
Advance = Generator[Due, State, tuple["Array | transfer.Graft", State]]


def init(xp: Any, algorithm: Algorithm, grads: Array) -> State:
    """State of a stack before its first step, for gradients like `grads` (B, m, n)."""
    first = xp.reshape(grads, (grads.shape[0], -1))[:, 0]
    return algorithm.init(xp, grads) | {name: xp.zeros_like(first) for name in COUNTERS}


def is_due(algorithm: Algorithm, count: Any, phase: Any = 0) -> Any:
    """Whether step `count` (from 1, Python or traced integer) refreshes this algorithm's stacks.

    With `stagger` every matrix has its own `phase`, from 0 to refresh_every - 1, see
    `balance.phases`.
    """
    start, every = algorithm.start_step, algorithm.refresh_every  # type: ignore[attr-defined]
    return (count >= start) & ((count - start) % every == phase)


def step(
    xp: Any,
    algorithms: Sequence[Algorithm],
    states: Sequence[State],
    grads: Sequence[Array],
    *,
    owners: Sequence[Sequence[int]],
    live: Sequence[Array],
    finite: Sequence[Array],
    decays: Sequence[Array | None],
    cond: Conditional,
) -> tuple[list[Array], list[State]]:
    """Advance all stacks by one step. Every argument but `xp` and `cond` has one entry per stack.

    Args:
      xp: array namespace.
      algorithms: what to do.
      states: arrays with leading axis B.
      grads: (B, m, n), in the state's dtype.
      owners: the number of the tensor that each matrix belongs to.
      live: (B,) booleans, False for matrices that take no part in this step.
      finite: (B,) booleans, False where the tensor's gradient is not finite; such a matrix is
        not live and is counted in `skipped_updates`.
      decays: weight_decay * parameters (B, m, n) for an algorithm with `decay_inside`, or None for
        no decay; for the others see `decay_factors`.
      cond: answers a refresh of the stack with that number.

    Returns:
      (updates, states): the directions to descend (B, m, n), before the learning rate. A matrix
      that is not live gets a zero update and keeps its state, counters aside.
    """
    everything = zip(algorithms, states, grads, live, finite, decays, strict=True)
    advanced = [
        answered(advance(xp, *arguments), functools.partial(cond, number))
        for number, arguments in enumerate(everything)
    ]
    updates = [update for update, _ in advanced]
    return finish(xp, updates, owners=owners, live=live), [state for _, state in advanced]


def answered(steps: Advance, answer: Callable[[Due], State]) -> Any:
    """What `advance` returns, its refreshes answered at once."""
    try:
        due = next(steps)
        while True:
            due = steps.send(answer(due))
    except StopIteration as stop:
        return stop.value


def finish(
    xp: Any,
    updates: Sequence[Array | transfer.Graft],
    *,
    owners: Sequence[Sequence[int]],
    live: Sequence[Array],
) -> list[Array]:
    """What `step` returns as updates, from those of `advance`. Stacks with matrices of one tensor
    must come together."""
    done = _transferred(xp, updates, owners)
    return [linalg.choose(xp, flags, update, 0.0) for flags, update in zip(live, done, strict=True)]


def decay_factors(
    xp: Any,
    stacks: Sequence[layout.Stack],
    algorithms: Sequence[Algorithm],
    live: Sequence[Array],
    weights: Sequence[Any],
    dtypes: Sequence[Any],
) -> dict[int, Array]:
    """By the number of a tensor, for those whose algorithm does not see its decay: the scalar by
    which the parameter, times that, joins its direction; 0 where it is not live.

    Parameters decay as they lie in memory: as stacks they would have to be copied. Every argument
    but `xp` has one entry per stack, `weights` are the weight decays.
    """
    found: dict[int, Array] = {}
    for stack, algorithm, flags, weight, dtype in zip(
        stacks, algorithms, live, weights, dtypes, strict=True
    ):
        if stack.decayed and not algorithm.decay_inside and not linalg.is_zero(weight):
            found |= zip(stack.owners, xp.astype(flags, dtype) * weight, strict=True)
    return found


def advance(
    xp: Any,
    algorithm: Algorithm,
    state: State,
    grads: Array,
    live: Array,
    finite: Array,
    decay: Array | None,
) -> Advance:
    """The step of one stack, which stops at every refresh for the carry after it.

    Arguments as in `step`. Returns the update and the state.
    What is not live may be anything until the end, NaN too: rows do not depend on one another.
    """
    new = state | counted(xp, state, live, finite)
    refresh = functools.partial(_refresh, xp, algorithm, grads, live)
    if algorithm.refresh_at == "before":
        new = yield from refresh(new)
    accumulated = algorithm.accumulate(xp, new, grads)
    noted = {key: value for key, value in accumulated.items() if key not in new}
    new = _where(xp, live, accumulated, new)
    if algorithm.refresh_at == "after":
        new = yield from refresh(new)
    update, directed = algorithm.direction(xp, new | noted, grads, decay)
    new = _where(xp, live, directed, new)
    if algorithm.refresh_at == "end":
        new = yield from refresh(new, update)
    return update, new


def counted(xp: Any, state: State, live: Array, finite: Array) -> State:
    """The counters that change in every step."""
    dtype = state["t"].dtype
    return {
        "t": state["t"] + xp.astype(live, dtype),
        "skipped_updates": state["skipped_updates"] + xp.astype(~finite, dtype),
    }


def _refresh(
    xp: Any,
    algorithm: Algorithm,
    grads: Array,
    live: Array,
    state: State,
    update: Array | transfer.Graft | None = None,
) -> Generator[Due, State, State]:
    """`state` after the refresh of the matrices whose turn it is.

    The first one of a matrix is due in step `start_step` or, if its gradient is zero then or not
    finite or it takes no part, in the first step in which that is no longer so; later ones follow
    the schedule. It comes after `update`, which reads what it replaces.
    """
    direction = update.direction if isinstance(update, transfer.Graft) else update

    def choose(scheduled: Any, started: Any) -> Array:
        seen = _seen(state)
        waiting = ~seen & linalg.any_nonzero(xp, grads)
        chosen = live & (waiting & started | seen & scheduled)
        return chosen if direction is None else linalg.after(xp, chosen, direction)

    keys = (*algorithm.refreshed_keys(state), "last_refresh", "failed_roots")
    carry = {key: state[key] for key in keys}
    carry = yield Due(algorithm, choose, Refresh(xp, algorithm, state, grads), carry)
    return state | carry


def _seen(state: State) -> Array:
    """Which matrices have had a refresh, taken or refused."""
    return (state["last_refresh"] > 0) | (state["failed_roots"] > 0)


def _where(xp: Any, live: Array, new: State, old: State) -> State:
    """`new` for matrices that are live and `old` for the others.

    What a method has passed on untouched is the same object and is not copied.
    """
    return {
        key: value if new[key] is value else linalg.choose(xp, live, new[key], value)
        for key, value in old.items()
    }


def _transferred(
    xp: Any, updates: Sequence[Array | transfer.Graft], owners: Sequence[Sequence[int]]
) -> list[Array]:
    """The updates, those that ask for it brought to the length wanted for their whole tensor."""
    chosen = [i for i, update in enumerate(updates) if isinstance(update, transfer.Graft)]
    mine = [owners[i] for i in chosen]
    totals = functools.partial(layout.per_tensor, xp, mine, operator.add)
    wanted = totals([updates[i].squares for i in chosen])
    present = totals([linalg.squares(xp, updates[i].direction) for i in chosen])
    done = list(updates)
    for i, target, actual in zip(chosen, wanted, present, strict=True):
        direction = updates[i].direction
        scale = linalg.divide_or_zero(xp, xp.sqrt(target), xp.sqrt(actual))
        done[i] = direction * linalg.per_matrix(xp, scale, direction)
    return done


def any_waits(state: State, taking_part: Array) -> bool:
    """Whether a matrix that has a gradient at all has had no refresh yet; waits for the device."""
    return bool((taking_part & ~_seen(state)).any())


def totals(states: list[State]) -> dict[str, Array]:
    """Sums of the counters `failed_roots` and `skipped_updates` over stacks, as scalar arrays."""
    return {
        name: sum(state[name].sum() for state in states)
        for name in ("failed_roots", "skipped_updates")
    }
