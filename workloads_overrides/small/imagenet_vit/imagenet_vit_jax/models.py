"""AlgoPerf's ViT (Dosovitskiy et al., arXiv:2010.11929) in flax: pre-LN, mean pooling, tanh head.

Written from the architecture; the same modules and names as `imagenet_vit_pytorch.models`.
Dropout is where AlgoPerf's JAX model has it (its PyTorch model also drops attention weights).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from ....base.dropout_jax import Dropout
from ..positions import sincos_2d
from ..workload import VitSize

Drop = Callable[[jax.Array], jax.Array]

Projection = functools.partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform())


class SelfAttention(nn.Module):
    """Multi-head dot-product attention of all patches to all patches."""

    num_heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        heads = (batch, length, self.num_heads, width // self.num_heads)
        q, k, v = (Projection(width, name=n)(x).reshape(heads) for n in ("query", "key", "value"))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * heads[-1] ** -0.5
        mixed = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), v)
        return Projection(width, name="out")(mixed.reshape(x.shape))


class Mlp(nn.Module):
    """Dense, GELU (its tanh approximation), dropout, dense."""

    mlp_dim: int

    @nn.compact
    def __call__(self, x: jax.Array, drop: Drop) -> jax.Array:
        dense = functools.partial(Projection, bias_init=nn.initializers.normal(1e-6))
        y = drop(nn.gelu(dense(self.mlp_dim, name="dense_1")(x)))
        return dense(x.shape[-1], name="dense_2")(y)


class Block(nn.Module):
    """x + dropout(attention(layernorm(x))), then the same with the MLP."""

    size: VitSize

    @nn.compact
    def __call__(self, x: jax.Array, drop: Drop) -> jax.Array:
        y = nn.LayerNorm(name="layernorm_0")(x)
        x = x + drop(SelfAttention(self.size.num_heads, name="attention_1")(y))
        y = nn.LayerNorm(name="layernorm_2")(x)
        return x + drop(Mlp(self.size.mlp_dim, name="mlp_3")(y, drop))


class ViT(nn.Module):
    """Patches with fixed positions, blocks, layer norm, mean, dense with tanh, zero head."""

    num_classes: int
    size: VitSize

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, dropout_rate: float | jax.Array = 0.0
    ) -> jax.Array:
        """Logits (B, num_classes) of images (B, h, w, c).

        With `train` and a rate other than the number 0, needs a `dropout` key.
        """
        size = self.size
        patch = (size.patch_size, size.patch_size)
        x = nn.Conv(size.width, patch, patch, padding="VALID", name="conv_patch_extract")(x)
        batch, height, width, _ = x.shape
        x = x.reshape(batch, height * width, size.width)
        drop = self._dropout(x.size, dropout_rate) if train else _keep
        x = drop(x + jnp.asarray(sincos_2d(height, width, size.width), x.dtype))
        for i in range(size.depth):
            x = Block(size, name=f"block_{i}")(x, drop)
        x = nn.LayerNorm(name="layernorm")(x).mean(1)
        x = nn.tanh(nn.Dense(size.width, name="pre_logits")(x))
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="head")(x)

    def _dropout(self, entries: int, rate: float | jax.Array) -> Drop:
        """For patches of `entries` entries in all."""
        if isinstance(rate, int | float) and rate == 0:
            return _keep
        mlp_entries = entries * self.size.mlp_dim // self.size.width
        total = entries * (1 + 2 * self.size.depth) + mlp_entries * self.size.depth
        return Dropout(self.make_rng("dropout"), rate, total)


def _keep(x: jax.Array) -> jax.Array:
    return x
