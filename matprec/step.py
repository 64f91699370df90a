"""One step of all stacks: order of its parts, counters, non-finite gradients, norm transfer.

Both adapters call `step`; they differ only in how a refresh is made conditional.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from matprec import layout, linalg, transfer
from matprec.algorithms.base import Algorithm, Array, State

COUNTERS = ("t", "last_refresh", "failed_roots", "skipped_updates")

# cond(algorithm, number, choose, refresh, carry, firsts_only=False), with the number of the stack,
# makes refresh(choose(scheduled, started), carry) conditional on any matrix being chosen; else
# carry. `scheduled` says whether this step is one of start_step, start_step + refresh_every, ...,
# `started` whether start_step has been reached; both may be traced. With `firsts_only` the
# matrices chosen can only be such as have had no refresh. `refresh` is a `Refresh`.
Conditional = Callable[..., State]


@dataclasses.dataclass(frozen=True, eq=False)
class Refresh:
    """`refresh(chosen, carry)`: the carry with the matrices refreshed that are `chosen` (B,).

    Everything it reads has the leading axis B and no row depends on another, so that it may be
    called with some rows of `chosen` and `carry` once it has been given the same ones `on`.

    Attributes:
      xp: array namespace.
      method: the algorithm's `first_refresh` or `refresh`.
      state: arrays (B, ...); what is in the carry too is taken from there.
      grads: (B, m, n).
    """

    xp: Any
    method: Callable[..., State]
    state: State
    grads: Array

    def __call__(self, chosen: Array, carry: State) -> State:
        refreshed = self.method(self.xp, self.state | carry, self.grads)
        accepted = refreshed["failed_roots"] == carry["failed_roots"]
        last = self.xp.where(accepted, self.state["t"], carry["last_refresh"])
        kept = {key: refreshed[key] for key in carry} | {"last_refresh": last}
        return _where(self.xp, chosen, kept, carry)

    def on(self, take: Callable[[Array], Array]) -> "Refresh":
        """The same for what `take` leaves of every array, some rows."""
        state = {key: take(value) for key, value in self.state.items()}
        return dataclasses.replace(self, state=state, grads=take(self.grads))


def init(xp: Any, algorithm: Algorithm, grads: Array) -> State:
    """State of a stack before its first step, for gradients like `grads` (B, m, n)."""
    first = xp.reshape(grads, (grads.shape[0], -1))[:, 0]
    return algorithm.init(xp, grads) | {name: xp.zeros_like(first) for name in COUNTERS}


def is_due(algorithm: Algorithm, count: Any) -> Any:
    """Whether step `count` (from 1, Python or traced integer) refreshes this algorithm's stacks."""
    start, every = algorithm.start_step, algorithm.refresh_every  # type: ignore[attr-defined]
    return (count >= start) & ((count - start) % every == 0)


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
      decays: weight_decay * parameters (B, m, n), or None for no decay.
      cond: makes a refresh conditional, see `Conditional`.

    Returns:
      (updates, states): the directions to descend (B, m, n), weight decay included, before the
      learning rate. A matrix that is not live gets a zero update and keeps its state, counters
      aside.
    """
    everything = zip(algorithms, states, grads, live, finite, decays, strict=True)
    advanced = [
        _advance(xp, cond, number, *arguments) for number, arguments in enumerate(everything)
    ]
    updates = _transferred(xp, [update for update, _ in advanced], owners)
    for number, (algorithm, decay) in enumerate(zip(algorithms, decays, strict=True)):
        if decay is not None and not algorithm.decay_inside:
            updates[number] = updates[number] + decay
        alive = linalg.per_matrix(xp, live[number], updates[number])
        updates[number] = xp.where(alive, updates[number], 0.0)
    return updates, [state for _, state in advanced]


def _advance(
    xp: Any,
    cond: Conditional,
    number: int,
    algorithm: Algorithm,
    state: State,
    grads: Array,
    live: Array,
    finite: Array,
    decay: Array | None,
) -> tuple[Array | transfer.Graft, State]:
    """The update of a stack, without weight decay from outside, and the state after the step."""
    dtype = state["t"].dtype
    grads = xp.where(linalg.per_matrix(xp, live, grads), grads, 0.0)
    skipped = state["skipped_updates"] + xp.astype(~finite, dtype)
    new = state | {"t": state["t"] + xp.astype(live, dtype), "skipped_updates": skipped}

    refresh = functools.partial(_refresh, xp, cond, number, algorithm, grads, live)
    if algorithm.refresh_at == "before":
        new = refresh(new)
    new = _where(xp, live, algorithm.accumulate(xp, new, grads), new)
    if algorithm.refresh_at == "after":
        new = refresh(new)
    inside = decay if algorithm.decay_inside else None
    update, directed = algorithm.direction(xp, new, grads, inside)
    new = _where(xp, live, directed, new)
    if algorithm.refresh_at == "end":
        new = refresh(new)
    return update, new


def _refresh(
    xp: Any,
    cond: Conditional,
    number: int,
    algorithm: Algorithm,
    grads: Array,
    live: Array,
    state: State,
) -> State:
    """`state` after the refresh of the matrices whose turn it is.

    The first one of a matrix is due in step `start_step` or, if its gradient is zero then or not
    finite or it takes no part, in the first step in which that is no longer so; later ones follow
    the schedule.
    """
    seen = (state["last_refresh"] > 0) | (state["failed_roots"] > 0)
    waiting = live & ~seen & xp.any(grads != 0, axis=tuple(range(1, grads.ndim)))
    seen = live & seen

    keys = (*algorithm.refreshed_keys(state), "last_refresh", "failed_roots")
    carry = {key: state[key] for key in keys}
    first = Refresh(xp, algorithm.first_refresh, state, grads)
    later = Refresh(xp, algorithm.refresh, state, grads)
    if type(algorithm).first_refresh is Algorithm.first_refresh:
        choose = lambda scheduled, started: waiting & started | seen & scheduled  # noqa: E731
        carry = cond(algorithm, number, choose, later, carry)
    else:
        carry = cond(algorithm, number, lambda _, started: waiting & started, first, carry, True)
        carry = cond(algorithm, number, lambda scheduled, _: seen & scheduled, later, carry)
    return state | carry


def _where(xp: Any, live: Array, new: State, old: State) -> State:
    """`new` for matrices that are live and `old` for the others.

    What a method has passed on untouched is the same object and is not copied.
    """
    return {
        key: value
        if new[key] is value
        else xp.where(linalg.per_matrix(xp, live, value), new[key], value)
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
    waiting = (state["last_refresh"] == 0) & (state["failed_roots"] == 0)
    return bool((taking_part & waiting).any())


def totals(states: list[State]) -> dict[str, Array]:
    """Sums of the counters `failed_roots` and `skipped_updates` over stacks, as scalar arrays."""
    return {
        name: sum(state[name].sum() for state in states)
        for name in ("failed_roots", "skipped_updates")
    }
