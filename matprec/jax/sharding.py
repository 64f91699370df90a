"""Refreshes shared by the devices of a mesh; everything else is replicated: `shard="refresh"`.

Of a stack of B matrices each of the D devices refreshes ceil(B / D), or repeats the last one where
none is left, and one gather gives all devices the whole. Devices run one program in step, so that
sharing a single matrix would save nothing: all refresh it, and nothing is sent.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from matprec.algorithms.base import State
from matprec.jax.rounds import in_rounds
from matprec.step import Refresh


def sharded(refresh: Refresh, mesh: Mesh) -> Callable[[jax.Array, State], State]:
    """`refresh` on the devices of `mesh`, all axes taken together.

    Arguments and result are replicated. The arrays are cut inside, not by the specification of
    the arguments: a mesh with explicit axes would refuse to cut what is replicated.
    """

    def run(chosen: jax.Array, carry: State) -> State:
        matrices = len(chosen)
        if mesh.size == 1 or matrices == 1:
            return in_rounds(refresh, chosen, carry)
        share = -(-matrices // mesh.size)

        def refresh_mine(state: State, grads: jax.Array, chosen: jax.Array, carry: State) -> State:
            rows = jax.lax.axis_index(mesh.axis_names) * share + jnp.arange(share)

            def take(x: jax.Array) -> jax.Array:
                return jnp.take(x, rows, axis=0, mode="clip")

            def gather(x: jax.Array) -> jax.Array:
                return jax.lax.all_gather(x, mesh.axis_names, tiled=True)[:matrices]

            stack = dataclasses.replace(refresh, state=state, grads=grads)
            mine = in_rounds(stack.on(take), take(chosen), jax.tree.map(take, carry))
            return jax.tree.map(gather, mine)

        everywhere = PartitionSpec()
        # What is gathered is the same on all devices, which the check cannot know.
        shared: Any = jax.shard_map(
            refresh_mine, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
        )
        return shared(refresh.state, refresh.grads, chosen, carry)

    return run
