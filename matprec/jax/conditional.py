"""Refreshes where they are due: the program is one for all steps."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from matprec import step as stepping
from matprec.algorithms.base import State
from matprec.jax.rounds import if_any, in_rounds
from matprec.jax.sharding import sharded


class Slots(NamedTuple):
    """When the rows of a stack are refreshed, with `stagger`; every array for each of the devices
    that the rows are cut over, unless one has been chosen by `of`.

    Attributes:
      phases: (B,) see `balance.phases`; -1 where there is no row.
      rows: (period, k) those of every phase, filled up with others to the longest.
    """

    phases: Any
    rows: Any

    def of(self, device: Any) -> "Slots":
        """Of one device, a Python or traced integer, which makes no difference to uncut rows."""
        if len(self.phases) == 1:
            return Slots(self.phases[0], self.rows[0])
        return Slots(jnp.asarray(self.phases)[device], jnp.asarray(self.rows)[device])


def make_slots(phases: list[int], period: int, devices: int = 1) -> Slots:
    """Of a stack whose rows are cut over so many devices, an equal number to each in turn."""
    share = -(-len(phases) // devices)
    hands = np.full(devices * share, -1)
    hands[: len(phases)] = phases
    hands = hands.reshape(devices, 1, share)
    others = hands != np.arange(period)[:, None]
    most = int(np.max(np.sum(~others, axis=-1)))
    return Slots(hands[:, 0], np.argsort(others, axis=-1, kind="stable")[..., :most])


def conditional(
    count: jax.Array, mesh: jax.sharding.Mesh | None, slots: Slots | None, due: stepping.Due
) -> Any:
    """The carry after step `count`'s refresh of a stack.

    Args:
      count: from 1.
      mesh: devices that share a refresh.
      slots: None where all rows are refreshed at once.
      due: what to do.
    """
    algorithm: Any = due.algorithm
    started = count >= algorithm.start_step
    if slots is not None:
        firsts = due.choose(False, started)
        carry = _refreshed(mesh, dataclasses.replace(due.refresh, first=True), firsts, due.carry)
        return _staggered(count, mesh, slots, dataclasses.replace(due, carry=carry))
    chosen = due.choose(stepping.is_due(algorithm, count), started)
    if algorithm.refresh_every == 1 and algorithm.start_step == 1:
        run = due.refresh if mesh is None else sharded(due.refresh, mesh)
        return run(chosen, due.carry)
    return _refreshed(mesh, due.refresh, chosen, due.carry)


def _refreshed(
    mesh: jax.sharding.Mesh | None, refresh: stepping.Refresh, chosen: jax.Array, carry: State
) -> State:
    """`refresh(chosen, carry)` by all devices, or `carry` where nothing is chosen."""
    if mesh is None or mesh.size == 1:
        return in_rounds(refresh, chosen, carry)
    return if_any(chosen, sharded(refresh, mesh), carry)


def _staggered(
    count: jax.Array, mesh: jax.sharding.Mesh | None, slots: Slots, due: stepping.Due
) -> Any:
    """The carry after the refresh of the rows whose step this is, and of no others.

    As many rows as there are in the step with most of them are taken in every step, some of them
    not chosen; so the program is one for all steps.
    """
    algorithm: Any = due.algorithm
    phases, table = jnp.asarray(slots.phases), jnp.asarray(slots.rows)
    rows = table[(count - algorithm.start_step) % algorithm.refresh_every]
    chosen = due.choose(stepping.is_due(algorithm, count, phases), False)[rows]
    refresh = dataclasses.replace(due.refresh.on(lambda x: x[rows]), first=False)
    some = {key: value[rows] for key, value in due.carry.items()}
    some = _refreshed(mesh, refresh, chosen, some)
    return {key: value.at[rows].set(some[key]) for key, value in due.carry.items()}
