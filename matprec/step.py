"""One step of an algorithm on one stack: order of its parts, counters, non-finite gradients.

Both adapters call `step` for every stack; they differ only in how a refresh is made conditional.
"""

from collections.abc import Callable
from typing import Any

from matprec import linalg
from matprec.algorithms.base import Algorithm, Array, State

COUNTERS = ("t", "last_refresh", "failed_roots", "skipped_updates")

# cond(function, carry) -> function(carry) when a refresh is due, else carry.
Conditional = Callable[[Callable[[Any], Any], Any], Any]


def init(xp: Any, algorithm: Algorithm, grads: Array) -> State:
    """State of a stack before its first step, for gradients like `grads` (B, m, n)."""
    counters = {name: xp.zeros_like(grads[:, 0, 0]) for name in COUNTERS}
    return algorithm.init(xp, grads) | counters


def is_due(algorithm: Algorithm, count: Any) -> Any:
    """Whether step `count` (from 1, Python or traced integer) refreshes this algorithm's stacks."""
    start, every = algorithm.start_step, algorithm.refresh_every  # type: ignore[attr-defined]
    return (count >= start) & ((count - start) % every == 0)


def step(
    xp: Any,
    algorithm: Algorithm,
    state: State,
    grads: Array,
    *,
    live: Array,
    finite: Array,
    decay: Array | None,
    cond: Conditional,
) -> tuple[Array, State]:
    """Advance a stack by one step.

    Args:
      xp: array namespace.
      algorithm: what to do.
      state: the stack's state, arrays with leading axis B.
      grads: (B, m, n), in the state's dtype.
      live: (B,) booleans, False for matrices that take no part in this step.
      finite: (B,) booleans, False where the tensor's gradient is not finite; such a matrix is
        not live and is counted in `skipped_updates`.
      decay: weight_decay * parameters (B, m, n), or None for no decay.
      cond: makes the refresh conditional, see `Conditional`.

    Returns:
      (update, state): the direction to descend (B, m, n), weight decay included, before the
      learning rate. A matrix that is not live gets a zero update and keeps its state, counters
      aside.
    """
    alive = linalg.per_matrix(live)
    grads = xp.where(alive, grads, 0.0)
    new = state | {"t": state["t"] + 1.0}

    keys = (*algorithm.refreshed, "last_refresh", "failed_roots")

    def refresh(new: State) -> State:
        def run(carry: State) -> State:
            refreshed = algorithm.refresh(xp, new | carry, grads)
            accepted = refreshed["failed_roots"] == carry["failed_roots"]
            last = xp.where(accepted, new["t"], carry["last_refresh"])
            return _where(xp, live, refreshed | {"last_refresh": last}, carry)

        return new | cond(run, {key: new[key] for key in keys})

    if algorithm.refresh_at == "before":
        new = refresh(new)
    new = algorithm.accumulate(xp, new, grads)
    if algorithm.refresh_at == "after":
        new = refresh(new)
    inside = decay if algorithm.decay_inside else None
    update, new = algorithm.direction(xp, new, grads, inside)
    if decay is not None and inside is None:
        update = update + decay
    if algorithm.refresh_at == "end":
        new = refresh(new)

    # What a refresh changes is kept there already, so that roots are not copied at every step.
    always = {key: state[key] for key in new if key not in keys}
    new = new | _where(xp, live, new, always)
    skipped = state["skipped_updates"] + xp.astype(~finite, state["t"].dtype)
    return xp.where(alive, update, 0.0), new | {"skipped_updates": skipped}


def _where(xp: Any, live: Array, new: State, old: State) -> State:
    """The keys of `old`, from `new` for matrices that are live and from `old` for the others."""
    return {
        key: xp.where(xp.reshape(live, (-1,) + (1,) * (value.ndim - 1)), new[key], value)
        for key, value in old.items()
    }


def totals(states: list[State]) -> dict[str, Array]:
    """Sums of the counters `failed_roots` and `skipped_updates` over stacks, as scalar arrays."""
    return {
        name: sum(state[name].sum() for state in states)
        for name in ("failed_roots", "skipped_updates")
    }
