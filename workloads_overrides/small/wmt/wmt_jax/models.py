"""The Transformer of AlgoPerf's WMT workload in flax.

Pre-LN encoder and decoder (arXiv 1706.03762, 2002.04745) with one embedding for source, target
and logits. Written from the architecture, not from its code. Every weight is a matrix, heads being
slices of columns.

Embeddings start with variance 1 / features and are multiplied by sqrt(features) where they are
read, as in the first of these papers. AlgoPerf starts them with variance 1 and divides logits by
sqrt(features): the same function, but steps of Adam's size, which do not grow with a weight, move
it sqrt(features) times less. That suits its 120,000 steps; in the 600 of a run here the usual
learning rates would hardly get beyond the frequencies of words.

Dropout sits where AlgoPerf's PyTorch model has it: on embeddings, attention
probabilities, attention outputs and inside and after MLPs; its JAX model has all but the second.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from ....base.dropout_jax import Dropout
from ..positions import sinusoids
from ..sizes import Sizes
from ..tokenizer import EOS, PAD

_dense = partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform())


class KeysValues(NamedTuple):
    """What an attention looks at: both (B, S, features)."""

    keys: jax.Array
    values: jax.Array


def _drop(x: jax.Array, dropout: Dropout | None) -> jax.Array:
    return x if dropout is None else dropout(x)


class Attention(nn.Module):
    """Multi-head attention without biases."""

    features: int
    num_heads: int

    def setup(self) -> None:
        for name in ("query", "key", "value", "out"):
            setattr(self, name, _dense(self.features, use_bias=False))

    def keys_values(self, x: jax.Array) -> KeysValues:
        """Of `x` (B, S, features)."""
        return KeysValues(self.key(x), self.value(x))

    def __call__(
        self, x: jax.Array, seen: KeysValues, mask: jax.Array, dropout: Dropout | None
    ) -> jax.Array:
        """(B, T, features) from `x` of that shape; `mask`, true where to look, is to (B, T, S)."""
        query, key, value = (self._heads(part) for part in (self.query(x), *seen))
        scores = jnp.einsum("bthd,bshd->bhts", query, key) / query.shape[-1] ** 0.5
        lowest = jnp.full_like(scores, jnp.finfo(scores.dtype).min)
        scores = jax.lax.select(jnp.broadcast_to(mask[:, None], scores.shape), scores, lowest)
        probabilities = _drop(nn.softmax(scores), dropout)
        read = jnp.einsum("bhts,bshd->bthd", probabilities, value)
        return _drop(self.out(read.reshape(x.shape)), dropout)

    def _heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], self.num_heads, -1)


class Mlp(nn.Module):
    """Dense -> ReLU -> dropout -> Dense -> dropout."""

    hidden_features: int

    @nn.compact
    def __call__(self, x: jax.Array, dropout: Dropout | None) -> jax.Array:
        dense = partial(_dense, bias_init=nn.initializers.normal(1e-6))
        hidden = nn.relu(dense(self.hidden_features, name="hidden")(x))
        return _drop(dense(x.shape[-1], name="output")(_drop(hidden, dropout)), dropout)


class EncoderLayer(nn.Module):
    """Attention to itself and an MLP, each after a LayerNorm and beside a residual."""

    sizes: Sizes

    def setup(self) -> None:
        self.self_layernorm = nn.LayerNorm()
        self.self_attention = Attention(self.sizes.features, self.sizes.num_heads)
        self.mlp_layernorm = nn.LayerNorm()
        self.mlp = Mlp(self.sizes.hidden)

    def __call__(self, x: jax.Array, mask: jax.Array, dropout: Dropout | None) -> jax.Array:
        h = self.self_layernorm(x)
        x = x + self.self_attention(h, self.self_attention.keys_values(h), mask, dropout)
        return x + self.mlp(self.mlp_layernorm(x), dropout)


class DecoderLayer(nn.Module):
    """Attention to what was written, attention to the source and an MLP, as in the encoder."""

    sizes: Sizes

    def setup(self) -> None:
        self.self_layernorm = nn.LayerNorm()
        self.self_attention = Attention(self.sizes.features, self.sizes.num_heads)
        self.cross_layernorm = nn.LayerNorm()
        self.cross_attention = Attention(self.sizes.features, self.sizes.num_heads)
        self.mlp_layernorm = nn.LayerNorm()
        self.mlp = Mlp(self.sizes.hidden)

    def source(self, encoded: jax.Array) -> KeysValues:
        """The source's keys and values, the same for every token written."""
        return self.cross_attention.keys_values(encoded)

    def __call__(
        self,
        y: jax.Array,
        source: KeysValues,
        mask: jax.Array,
        source_mask: jax.Array,
        dropout: Dropout | None = None,
    ) -> jax.Array:
        """For all tokens (B, T, features) at once."""
        written = self.self_attention.keys_values(self.self_layernorm(y))
        return self._layer(y, written, source, mask, source_mask, dropout)

    def step(
        self,
        y: jax.Array,
        written: KeysValues,
        position: jax.Array,
        source: KeysValues,
        mask: jax.Array,
        source_mask: jax.Array,
    ) -> tuple[jax.Array, KeysValues]:
        """For one token (B, 1, features), whose keys and values enter `written`."""
        new = self.self_attention.keys_values(self.self_layernorm(y))
        updated = [
            jax.lax.dynamic_update_slice_in_dim(old, column, position, axis=1)
            for old, column in zip(written, new, strict=True)
        ]
        written = KeysValues(*updated)
        return self._layer(y, written, source, mask, source_mask, None), written

    def _layer(
        self,
        y: jax.Array,
        written: KeysValues,
        source: KeysValues,
        mask: jax.Array,
        source_mask: jax.Array,
        dropout: Dropout | None,
    ) -> jax.Array:
        y = y + self.self_attention(self.self_layernorm(y), written, mask, dropout)
        y = y + self.cross_attention(self.cross_layernorm(y), source, source_mask, dropout)
        return y + self.mlp(self.mlp_layernorm(y), dropout)


class Transformer(nn.Module):
    """Logits of every target token from the source and the target tokens before it."""

    sizes: Sizes

    def setup(self) -> None:
        sizes = self.sizes
        self.shared_embedding = nn.Embed(
            sizes.vocab_size,
            sizes.features,
            embedding_init=nn.initializers.normal(sizes.features**-0.5),
        )
        self.encoder = [EncoderLayer(sizes) for _ in range(sizes.num_layers)]
        self.encoder_layernorm = nn.LayerNorm()
        self.decoder = [DecoderLayer(sizes) for _ in range(sizes.num_layers)]
        self.decoder_layernorm = nn.LayerNorm()

    def __call__(
        self,
        inputs: jax.Array,
        targets: jax.Array,
        train: bool,
        dropout_rate: float | jax.Array,
    ) -> jax.Array:
        """(B, T, vocab_size) from tokens (B, S), (B, T); with `train`, needs a `dropout` key.

        A row may hold several pairs, each ending with EOS, PAD after the last: a pair sees nothing
        of the others.
        """
        dropout = None
        if train:
            batch, length = inputs.shape
            entries = self.sizes.dropout_entries(batch, length, targets.shape[1])
            dropout = Dropout(self.make_rng("dropout"), dropout_rate, entries)
        encoded = self._encode(inputs, dropout)
        causal = jnp.tril(_same_pair(targets, targets))
        source_mask = _same_pair(targets, inputs)
        positions = causal.sum(-1) - 1
        before = jnp.where(positions > 0, jnp.roll(targets, 1, axis=1), PAD)
        y = _drop(self._embed(before, positions), dropout)
        for layer in self.decoder:
            y = layer(y, layer.source(encoded), causal, source_mask, dropout)
        return self._logits(y)

    def _encode(self, inputs: jax.Array, dropout: Dropout | None) -> jax.Array:
        mask = _same_pair(inputs, inputs)
        positions = jnp.tril(mask).sum(-1) - 1
        x = _drop(self._embed(inputs, positions), dropout)
        for layer in self.encoder:
            x = layer(x, mask, dropout)
        return self.encoder_layernorm(x)

    def sources(self, inputs: jax.Array) -> list[KeysValues]:
        """What every decoder layer sees of the source (B, S), one pair a row."""
        encoded = self._encode(inputs, None)
        return [layer.source(encoded) for layer in self.decoder]

    def step(
        self,
        token: jax.Array,
        position: jax.Array,
        written: list[KeysValues],
        sources: list[KeysValues],
        inputs: jax.Array,
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Logits (B, vocab_size) at `position` after `token` (B,), and the written with it.

        `written` has, per decoder layer, room for all positions (B, length, features).
        """
        length = written[0].keys.shape[1]
        mask = (jnp.arange(length) <= position)[None, None]
        y = self._embed(token[:, None], position[None, None])
        updated = []
        for layer, old, source in zip(self.decoder, written, sources, strict=True):
            y, new = layer.step(y, old, position, source, mask, (inputs != PAD)[:, None])
            updated.append(new)
        return self._logits(y)[:, 0], updated

    def _embed(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        embedded = self.shared_embedding(tokens) * self.sizes.features**0.5
        table = sinusoids(self.sizes.max_length, embedded.shape[-1])
        return embedded + jnp.asarray(table, embedded.dtype)[positions]

    def _logits(self, y: jax.Array) -> jax.Array:
        y = self.decoder_layernorm(y)
        return self.shared_embedding.attend(y)


def _same_pair(tokens: jax.Array, others: jax.Array) -> jax.Array:
    """Which of (B, T) and (B, S) tokens are of one pair: (B, T, S)."""
    first, second = (_pair_numbers(x) for x in (tokens, others))
    return first[:, :, None] == second[:, None]


def _pair_numbers(tokens: jax.Array) -> jax.Array:
    """Which pair of its row a token is of, from 1; 0 for PAD."""
    ends = (tokens == EOS).astype(jnp.int32)
    return jnp.where(tokens != PAD, 1 + jnp.cumsum(ends, axis=1) - ends, 0)


def nothing_written(sizes: Sizes, batch: int, length: int, dtype: Any) -> list[KeysValues]:
    """The `written` of `Transformer.step` before the first token."""
    empty = jnp.zeros((batch, length, sizes.features), dtype)
    return [KeysValues(empty, empty)] * sizes.num_layers
