"""The LLaMA decoder in flax: pre-norm, rotary embeddings, gated MLP, untied head, no biases.

Written from the papers (LLaMA, arXiv 2302.13971; GaLore's sizes, 2403.03507); the names are those
of `numerics.pytorch_name`. Parameters and residual stream are in the parameters' precision; with
a compute dtype, matrix products and attention are in it, norms, rotations and softmax are not.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint

from ..config import ModelConfig
from ..numerics import INIT_STD, RMS_NORM_EPS, rope_tables

_init = nn.initializers.normal(INIT_STD)


def _dense(features: int, dtype: Any, name: str) -> nn.Dense:
    return nn.Dense(features, use_bias=False, dtype=dtype, kernel_init=_init, name=name)


def _wide(x: jax.Array) -> jax.Array:
    """In single precision at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * scale over the last axis, in single precision at least."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        wide = _wide(x)
        mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
        return (wide * jax.lax.rsqrt(mean_square + RMS_NORM_EPS) * scale).astype(x.dtype)


def rotate(x: jax.Array) -> jax.Array:
    """Rotary embeddings of (B, L, heads, head_dim), position by position of L."""
    wide = _wide(x)
    tables = rope_tables(x.shape[1], x.shape[-1])
    cos, sin = (jnp.asarray(table, wide.dtype)[:, None, :] for table in tables)
    first, second = jnp.split(wide, 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Causal attention with rotary embeddings, of (B, L, heads, head_dim) each; softmax in single
    precision at least.

    Written out: `jax.nn.dot_product_attention` is quicker on GPUs with `implementation="cudnn"`,
    which is in half precision only and has no counterpart elsewhere that it could be tested with.
    """
    length = query.shape[1]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("bqhd,bkhd->bhqk", rotate(query), rotate(key), preferred_element_type=wide)
    causal = jnp.tril(jnp.ones((length, length), bool))
    scores: Any = jnp.where(causal, scores * query.shape[-1] ** -0.5, -1e30)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, value)


class Attention(nn.Module):
    """Causal self-attention with rotary embeddings."""

    heads: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, hidden = x.shape
        shape = (batch, length, self.heads, hidden // self.heads)
        query, key, value = (
            _dense(hidden, self.dtype, name)(x).reshape(shape) for name in ("query", "key", "value")
        )
        # On an accelerator the backward pass computes the scores again, a few per cent of the work:
        # of 130M's batch of 512 rows they would be 19 GB in single precision.
        function = attend if self.dtype is None else checkpoint(attend)
        return _dense(hidden, self.dtype, "out")(function(query, key, value).reshape(x.shape))


class Mlp(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        gate = nn.silu(_dense(self.features, self.dtype, "gate_proj")(x))
        up = _dense(self.features, self.dtype, "up_proj")(x)
        return _dense(x.shape[-1], self.dtype, "down_proj")(gate * up)


class Layer(nn.Module):
    """Attention, then the MLP, each of a normed copy and added to the residual stream."""

    config: ModelConfig
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        normed = RMSNorm(name="attn_rms_ln")(x)
        x = x + Attention(self.config.heads, self.dtype, name="attention")(normed)
        normed = RMSNorm(name="mlp_rms_ln")(x)
        return x + Mlp(self.config.ffn, self.dtype, name="mlp")(normed)


class Llama(nn.Module):
    """Logits of the next token at every position.

    Attributes:
      config: sizes.
      dtype: what matrix products are computed in; None: the parameters' precision.
    """

    config: ModelConfig
    dtype: Any = None

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool, dropout_rate: Any) -> jax.Array:
        """(B, L) integers to (B, L, vocab) in the compute dtype. There is no dropout: the last
        two arguments are ignored."""
        del train, dropout_rate
        config = self.config
        x = nn.Embed(config.vocab, config.hidden, embedding_init=_init, name="token_embedding")(
            tokens
        )
        for number in range(config.layers):
            x = Layer(config, self.dtype, name=f"layers_{number}")(x)
        x = RMSNorm(name="final_rms_ln")(x)
        return _dense(config.vocab, self.dtype, "lm_head")(x)
