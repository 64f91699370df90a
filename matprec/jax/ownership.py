"""Rows of stacks that have one device of a mesh each, for their whole step: `shard="all"`.

A stack of B matrices is padded to equal shares of ceil(B / D) rows for each of the D devices, whose
state is kept there and nowhere else; a device accumulates, refreshes and takes the directions of
its own rows, and one gather of the updates gives all devices the whole. Long rows of elementwise
methods are cut along their length instead. A stack that cannot be cut, a single matrix, is kept
and stepped by all devices: they run one program, and sharing it would save no time.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from matprec import layout
from matprec import step as stepping
from matprec.algorithms.base import Algorithm, State
from matprec.jax.namespace import JAX

# Answers the refresh of a stack in a step, on the device with a number: (count, device, stack's
# number, due).
Conditional = Callable[[Any, Any, int, stepping.Due], State]


@dataclasses.dataclass(frozen=True)
class Cut:
    """How the arrays of a stack are cut over the devices of a mesh, all axes taken together.

    Attributes:
      mesh: the devices.
      axis: that is cut, of the arrays that have it; None for none.
      length: of that axis, without padding.
    """

    mesh: Mesh
    axis: int | None
    length: int

    @property
    def share(self) -> int:
        """Of the axis on one device."""
        return -(-self.length // self.mesh.size)

    def _cuts(self, x: Any) -> bool:
        return self.axis is not None and x.ndim > self.axis

    def spec(self, x: Any) -> PartitionSpec:
        """Of an array of the state."""
        if not self._cuts(x):
            return PartitionSpec()
        return PartitionSpec(*[None] * (self.axis or 0), self.mesh.axis_names)

    def _first(self) -> jax.Array:
        """Where this device's share begins along the axis."""
        return jax.lax.axis_index(self.mesh.axis_names) * self.share

    def take(self, x: jax.Array) -> jax.Array:
        """This device's share of a replicated array; padding repeats the last row."""
        if not self._cuts(x):
            return x
        axis: Any = self.axis
        if self.length % self.mesh.size == 0:
            return jax.lax.dynamic_slice_in_dim(x, self._first(), self.share, axis)
        return jnp.take(x, self._first() + jnp.arange(self.share), axis=axis, mode="clip")

    def gather(self, x: jax.Array) -> jax.Array:
        """The whole of an array of which this device has its share."""
        if not self._cuts(x):
            return x
        axis: Any = self.axis
        whole = jax.lax.all_gather(x, self.mesh.axis_names, axis=axis, tiled=True)
        return jax.lax.slice_in_dim(whole, 0, self.length, axis=axis)

    def is_row(self, flags: jax.Array) -> jax.Array:
        """For flags of this device's rows: False where there is padding."""
        if self.axis != 0:
            return jnp.ones_like(flags)
        return self._first() + jnp.arange(self.share) < self.length


def make_cut(stack: layout.Stack, algorithm: Algorithm, mesh: Mesh) -> Cut:
    """Along the rows, or their length where elements are independent and the cut is even."""
    last = len(stack.shape)
    if algorithm.elementwise and stack.shape[-1] % mesh.size == 0:
        return Cut(mesh, last, stack.shape[-1])
    return Cut(mesh, 0 if len(stack.pieces) > 1 else None, len(stack.pieces))


def init(
    mesh: Mesh, cuts: Sequence[Cut], algorithms: Sequence[Algorithm], grads: Sequence[Any]
) -> tuple[State, ...]:
    """Every device's share of the states of stacks with gradients like `grads` (shapes and dtypes),
    before the first step."""

    def local(sizes: Sequence[Any]) -> tuple[State, ...]:
        return tuple(
            stepping.init(JAX, algorithm, jnp.zeros(size.shape, size.dtype))
            for algorithm, size in zip(algorithms, sizes, strict=True)
        )

    sizes = [_share(cut, x) for cut, x in zip(cuts, grads, strict=True)]
    shapes = jax.eval_shape(lambda: local(sizes))
    made: Any = jax.shard_map(
        lambda: local(sizes),
        mesh=mesh,
        in_specs=(),
        out_specs=_specs(cuts, shapes),
        check_vma=False,
    )
    return made()


def _share(cut: Cut, x: Any) -> jax.ShapeDtypeStruct:
    shape = list(x.shape)
    if cut.axis is not None:
        shape[cut.axis] = cut.share
    return jax.ShapeDtypeStruct(tuple(shape), x.dtype)


def _specs(cuts: Sequence[Cut], states: Sequence[State]) -> tuple[dict[str, PartitionSpec], ...]:
    return tuple(
        {key: cut.spec(value) for key, value in state.items()}
        for cut, state in zip(cuts, states, strict=True)
    )


def advance(
    mesh: Mesh,
    cuts: Sequence[Cut],
    count: jax.Array,
    algorithms: Sequence[Algorithm],
    states: Sequence[State],
    grads: Sequence[jax.Array],
    finite: Sequence[jax.Array],
    decays: Sequence[jax.Array | None],
    cond: Conditional,
) -> tuple[Any, tuple[State, ...]]:
    """`matprec.step.advance` of all stacks in step `count`, every device its own rows. Arguments as
    there, one entry per stack; all but `states` are replicated.

    Returns:
      (updates, states): replicated, and cut as before.
    """

    def local(states: Any, count: Any, *replicated: Any) -> Any:
        device = jax.lax.axis_index(mesh.axis_names)
        done = []
        everything = zip(cuts, algorithms, states, *replicated, strict=True)
        for number, (cut, algorithm, state, *arrays) in enumerate(everything):
            grad, flags, decay = jax.tree.map(cut.take, arrays)
            row = cut.is_row(flags)
            steps = stepping.advance(JAX, algorithm, state, grad, flags & row, flags | ~row, decay)
            answer = functools.partial(cond, count, device, number)
            update, state = stepping.answered(steps, answer)
            done.append((jax.tree.map(cut.gather, update), state))
        return [update for update, _ in done], tuple(state for _, state in done)

    specs, everywhere = _specs(cuts, states), PartitionSpec()
    # What is gathered is the same on all devices, which the check cannot know.
    run: Any = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(specs, everywhere, everywhere, everywhere, everywhere),
        out_specs=(everywhere, specs),
        check_vma=False,
    )
    return run(tuple(states), count, list(grads), list(finite), list(decays))
