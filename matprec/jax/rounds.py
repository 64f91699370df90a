"""A refresh of a stack, or of none of it, in a loop over some of its rows at a time.

XLA would copy all that a `lax.cond` leaves as it is, in every step, whereas a loop has its state in
place. On a CPU, where matrices are decomposed one after another anyway, what a refresh needs beside
the state is then as small as one round; other devices take all rows at once.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from matprec.algorithms.base import State
from matprec.step import Refresh

# Of the rows of a round, in the largest array, on a CPU; a single one may be larger.
ROUND_BYTES = 3 << 19


def in_rounds(refresh: Refresh, chosen: jax.Array, carry: State) -> State:
    """`refresh(chosen, carry)`, or `carry` where nothing is chosen."""
    rows = len(chosen)
    size = _round(refresh, carry)

    def step(number: jax.Array, carry: State) -> State:
        # The last round begins early enough to be full; what has had its refresh is not chosen.
        start = jnp.minimum(number * size, rows - size)
        fresh = start + jnp.arange(size) >= number * size

        def take(x: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice_in_dim(x, start, size)

        some = {key: take(value) for key, value in carry.items()}
        done = refresh.on(take)(take(chosen) & fresh, some)
        return {
            key: jax.lax.dynamic_update_slice_in_dim(value, done[key], start, 0)
            for key, value in carry.items()
        }

    if size == rows:
        return if_any(chosen, refresh, carry)
    rounds = jnp.where(jnp.any(chosen), -(-rows // size), 0)
    return jax.lax.fori_loop(0, rounds, step, carry)


def if_any(chosen: jax.Array, run: Callable[[jax.Array, Any], Any], carry: Any) -> Any:
    """`run(chosen, carry)`, or `carry` where nothing is chosen: a loop of one round or none."""

    def once(state: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
        return jnp.zeros_like(state[0]), run(chosen, state[1])

    return jax.lax.while_loop(lambda state: state[0], once, (jnp.any(chosen), carry))[1]


def _round(refresh: Refresh, carry: State) -> int:
    """How many rows are refreshed at once."""
    rows = len(refresh.grads)
    if jax.default_backend() != "cpu":
        return rows
    arrays = [refresh.grads, *carry.values()]
    largest = max(math.prod(x.shape[1:]) * x.dtype.itemsize for x in arrays)
    return min(rows, max(1, ROUND_BYTES // largest)) if largest else rows
