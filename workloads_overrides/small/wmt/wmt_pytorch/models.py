"""The Transformer of AlgoPerf's WMT workload in PyTorch: `wmt_jax.models` under the same names."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..positions import sinusoids
from ..sizes import Sizes
from ..tokenizer import EOS, PAD


class KeysValues(NamedTuple):
    """What an attention looks at: both (B, S, features)."""

    keys: Tensor
    values: Tensor


def _layernorm(features: int) -> nn.LayerNorm:
    return nn.LayerNorm(features, eps=1e-6)  # flax's eps


class Attention(nn.Module):
    """Multi-head attention without biases."""

    def __init__(self, features: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(features, features, bias=False)
        self.key = nn.Linear(features, features, bias=False)
        self.value = nn.Linear(features, features, bias=False)
        self.out = nn.Linear(features, features, bias=False)

    def keys_values(self, x: Tensor) -> KeysValues:
        """Of `x` (B, S, features)."""
        return KeysValues(self.key(x), self.value(x))

    def forward(
        self, x: Tensor, seen: KeysValues, mask: Tensor | None, dropout_rate: float
    ) -> Tensor:
        """(B, T, features) from `x` of that shape.

        `mask`, true where to look, is to (B, T, S); None: everywhere.
        """
        query, key, value = map(self._heads, (self.query(x), *seen))
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
        probabilities = F.dropout(scores.softmax(-1), dropout_rate, self.training)
        read = (probabilities @ value).transpose(1, 2).reshape(x.shape)
        return F.dropout(self.out(read), dropout_rate, self.training)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Dense -> ReLU -> dropout -> Dense -> dropout."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, features)

    def forward(self, x: Tensor, dropout_rate: float) -> Tensor:
        hidden = F.dropout(F.relu(self.hidden(x)), dropout_rate, self.training)
        return F.dropout(self.output(hidden), dropout_rate, self.training)


class EncoderLayer(nn.Module):
    """Attention to itself and an MLP, each after a LayerNorm and beside a residual."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_layernorm = _layernorm(sizes.features)
        self.self_attention = Attention(sizes.features, sizes.num_heads)
        self.mlp_layernorm = _layernorm(sizes.features)
        self.mlp = Mlp(sizes.features, sizes.hidden)

    def forward(self, x: Tensor, mask: Tensor, dropout_rate: float) -> Tensor:
        h = self.self_layernorm(x)
        x = x + self.self_attention(h, self.self_attention.keys_values(h), mask, dropout_rate)
        return x + self.mlp(self.mlp_layernorm(x), dropout_rate)


class DecoderLayer(nn.Module):
    """Attention to what was written, attention to the source and an MLP, as in the encoder."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_layernorm = _layernorm(sizes.features)
        self.self_attention = Attention(sizes.features, sizes.num_heads)
        self.cross_layernorm = _layernorm(sizes.features)
        self.cross_attention = Attention(sizes.features, sizes.num_heads)
        self.mlp_layernorm = _layernorm(sizes.features)
        self.mlp = Mlp(sizes.features, sizes.hidden)

    def source(self, encoded: Tensor) -> KeysValues:
        """The source's keys and values, the same for every token written."""
        return self.cross_attention.keys_values(encoded)

    def forward(
        self,
        y: Tensor,
        source: KeysValues,
        mask: Tensor,
        source_mask: Tensor,
        dropout_rate: float,
    ) -> Tensor:
        """For all tokens (B, T, features) at once."""
        h = self.self_layernorm(y)
        written = self.self_attention.keys_values(h)
        return self._layer(y, h, written, source, mask, source_mask, dropout_rate)

    def step(
        self,
        y: Tensor,
        written: KeysValues,
        position: int,
        source: KeysValues,
        source_mask: Tensor,
    ) -> Tensor:
        """For one token (B, 1, features), whose keys and values are put into `written`."""
        h = self.self_layernorm(y)
        for old, new in zip(written, self.self_attention.keys_values(h), strict=True):
            old[:, position] = new[:, 0]
        seen = KeysValues(*(x[:, : position + 1] for x in written))
        return self._layer(y, h, seen, source, None, source_mask, 0.0)

    def _layer(
        self,
        y: Tensor,
        h: Tensor,
        written: KeysValues,
        source: KeysValues,
        mask: Tensor | None,
        source_mask: Tensor,
        rate: float,
    ) -> Tensor:
        y = y + self.self_attention(h, written, mask, rate)
        y = y + self.cross_attention(self.cross_layernorm(y), source, source_mask, rate)
        return y + self.mlp(self.mlp_layernorm(y), rate)


class Transformer(nn.Module):
    """Logits of every target token from the source and the target tokens before it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.shared_embedding = nn.Embedding(sizes.vocab_size, sizes.features)
        for i in range(sizes.num_layers):  # named as in flax
            self.add_module(f"encoder_{i}", EncoderLayer(sizes))
            self.add_module(f"decoder_{i}", DecoderLayer(sizes))
        self.encoder_layernorm = _layernorm(sizes.features)
        self.decoder_layernorm = _layernorm(sizes.features)
        # Made here: NumPy in a forward pass would copy it to the device every time.
        table = sinusoids(sizes.max_length, sizes.features)
        self.positions: Tensor
        self.register_buffer("positions", torch.tensor(table), persistent=False)
        nn.init.normal_(self.shared_embedding.weight, std=sizes.features**-0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.normal_(module.bias, std=1e-6)

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        dropout_rate: float,
    ) -> Tensor:
        """(B, T, vocab_size) from tokens (B, S) and (B, T). The rate counts in training only.

        A row may hold several pairs, each ending with EOS, PAD after the last: a pair sees nothing
        of the others.
        """
        encoded = self._encode(inputs, dropout_rate)
        causal = _same_pair(targets, targets).tril()
        source_mask = _same_pair(targets, inputs)
        positions = causal.sum(-1) - 1
        before = targets.roll(1, dims=1).masked_fill(positions == 0, PAD)
        y = F.dropout(self._embed(before, positions), dropout_rate, self.training)
        for layer in self._layers("decoder"):
            y = layer(y, layer.source(encoded), causal, source_mask, dropout_rate)
        return self._logits(y)

    def _encode(self, inputs: Tensor, dropout_rate: float) -> Tensor:
        mask = _same_pair(inputs, inputs)
        positions = mask.tril().sum(-1) - 1
        x = F.dropout(self._embed(inputs, positions), dropout_rate, self.training)
        for layer in self._layers("encoder"):
            x = layer(x, mask, dropout_rate)
        return self.encoder_layernorm(x)

    def sources(self, inputs: Tensor) -> list[KeysValues]:
        """What every decoder layer sees of the source (B, S), one pair a row."""
        encoded = self._encode(inputs, 0.0)
        return [layer.source(encoded) for layer in self._layers("decoder")]

    def step(
        self,
        token: Tensor,
        position: int,
        written: list[KeysValues],
        sources: list[KeysValues],
        inputs: Tensor,
    ) -> Tensor:
        """Logits (B, vocab_size) at `position` after `token` (B,), which enters `written`."""
        y = self._embed(token[:, None], torch.full_like(token[:, None], position))
        for layer, old, source in zip(self._layers("decoder"), written, sources, strict=True):
            y = layer.step(y, old, position, source, (inputs != PAD)[:, None])
        return self._logits(y)[:, 0]

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        embedded = self.shared_embedding(tokens) * self.sizes.features**0.5
        return embedded + F.embedding(positions, self.positions.to(embedded.dtype))

    def _layers(self, name: str) -> list[Any]:
        return [getattr(self, f"{name}_{i}") for i in range(self.sizes.num_layers)]

    def _logits(self, y: Tensor) -> Tensor:
        y = self.decoder_layernorm(y)
        return F.linear(y, self.shared_embedding.weight)


def _same_pair(tokens: Tensor, others: Tensor) -> Tensor:
    """Which of (B, T) and (B, S) tokens are of one pair: (B, T, S)."""
    first, second = (_pair_numbers(x) for x in (tokens, others))
    return first[:, :, None] == second[:, None]


def _pair_numbers(tokens: Tensor) -> Tensor:
    """Which pair of its row a token is of, from 1; 0 for PAD."""
    ends = (tokens == EOS).long()
    return torch.where(tokens != PAD, 1 + ends.cumsum(1) - ends, 0)
