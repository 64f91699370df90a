"""Dropout whose masks are drawn at once and whose rate may be traced."""

import math

import jax
import jax.numpy as jnp


class Dropout:
    """The masks of one forward pass, drawn at once: one by one they take long to compile.

    An entry is dropped if its 16 random bits, half of what `jax.random.bernoulli` would draw, are
    below rate * 2**16; the others are scaled by 1 / (1 - rate). The rate, rounded to 2**-16, may
    be traced, which `flax.linen.Dropout` does not allow.
    """

    def __init__(self, key: jax.Array, rate: float | jax.Array, size: int) -> None:
        """For inputs of `size` entries in all."""
        words = jax.random.bits(key, ((size + 1) // 2,), jnp.uint32)
        bits = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)
        self._keep = bits.astype(jnp.int32) >= jnp.round(rate * 2.0**16).astype(jnp.int32)
        self._scale = 1.0 / jnp.where(rate < 1.0, 1.0 - rate, 1.0)
        self._size = size
        self._used = 0

    def __call__(self, x: jax.Array) -> jax.Array:
        """Raises ValueError when more entries are asked for than were drawn."""
        start, self._used = self._used, self._used + math.prod(x.shape)
        if self._used > self._size:
            raise ValueError(f"dropout of {self._used} entries, but only {self._size} were drawn")
        keep = self._keep[start : self._used].reshape(x.shape)
        return jnp.where(keep, x * self._scale.astype(x.dtype), 0.0)
