"""Greedy translation in JAX."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from ..tokenizer import EOS, PAD
from .models import KeysValues, Transformer, nothing_written


def translate(model: Transformer, params: Any, inputs: jax.Array, length: int) -> jax.Array:
    """The likeliest next token again and again: (B, length) int32, PAD after EOS, from (B, S).

    It ends when all strings have; keys and values of what is written are kept.
    """
    variables = {"params": params}
    sources = cast(list[KeysValues], model.apply(variables, inputs, method="sources"))
    batch = inputs.shape[0]
    written = nothing_written(model.sizes, batch, length, sources[0].keys.dtype)

    def unfinished(state: tuple) -> jax.Array:
        position, _, _, ended, _ = state
        return (position < length) & ~ended.all()

    def write(state: tuple) -> tuple:
        position, token, tokens, ended, written = state
        step = model.apply(variables, token, position, written, sources, inputs, method="step")
        logits, written = cast(tuple[jax.Array, list[KeysValues]], step)
        token = jnp.where(ended, PAD, logits.argmax(-1).astype(jnp.int32))
        tokens = jax.lax.dynamic_update_slice_in_dim(tokens, token[:, None], position, axis=1)
        return position + 1, token, tokens, ended | (token == EOS), written

    start = (
        jnp.int32(0),
        jnp.full((batch,), PAD, jnp.int32),
        jnp.full((batch, length), PAD, jnp.int32),
        jnp.zeros((batch,), bool),
        written,
    )
    return jax.lax.while_loop(unfinished, write, start)[2]
