"""`jax.numpy` with its own forms of what `matprec.linalg` calls replaceable.

XLA compiles a kernel for every reduction stage, which takes longer than to run it, and on a CPU its
matrix-vector products read memory several times as fast as its reductions.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from matprec import linalg

# Longest row that is summed by one product: it has no tree to keep rounding small, and XLA hands a
# longer one to a library, which must have it in memory.
_ROW = 2048


class Namespace(linalg.Replacing):
    """`jax.numpy`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    def squares(self, x: jax.Array) -> jax.Array:
        """See `linalg.squares`."""
        return _sums(x * x)

    def any_nonzero(self, x: jax.Array) -> jax.Array:
        """See `linalg.any_nonzero`."""
        return _sums(jnp.abs(x)) != 0

    def line_squares(self, x: jax.Array, axis: int) -> jax.Array:
        """See `linalg.line_squares`."""
        if axis not in (-1, x.ndim - 1):
            return jnp.sum(x * x, axis=axis, keepdims=True)
        return _row_sums(x * x)[..., None]

    def after(self, flags: jax.Array, x: jax.Array) -> jax.Array:
        """See `linalg.after`. XLA keeps to no other order than that of the data."""
        entry = x[(slice(None), *(0 for _ in x.shape[1:]))]
        return flags | (entry > jnp.inf)

    def either(
        self,
        first: jax.Array,
        second: jax.Array,
        one: Callable[[], linalg.Arrays],
        other: Callable[[], linalg.Arrays],
    ) -> linalg.Arrays:
        """See `linalg.either`."""
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one))
        firsts = jax.lax.cond(jnp.any(first), one, lambda: nothing)

        def both() -> linalg.Arrays:
            rest = other()
            return {key: linalg.choose(jnp, first, firsts[key], rest[key]) for key in rest}

        return jax.lax.cond(jnp.any(second), both, lambda: firsts)


def _row_sums(x: jax.Array) -> jax.Array:
    """(..., n) -> (...); a long row in equal parts where it has such."""
    size = x.shape[-1]
    if size <= _ROW:
        return jnp.matmul(x, jnp.ones(size, x.dtype))
    width = _part(size)
    if width is None:
        return jnp.sum(x, axis=-1)
    return _row_sums(_row_sums(x.reshape(*x.shape[:-1], size // width, width)))


@functools.cache
def _part(size: int) -> int | None:
    """The largest divisor up to _ROW, if it is large enough to save anything."""
    return next((width for width in range(_ROW, _ROW // 32, -1) if size % width == 0), None)


def _sums(x: jax.Array) -> jax.Array:
    """(B, ...) -> (B,)."""
    while x.ndim > 1:
        x = _row_sums(x)
    return x


JAX = Namespace()
