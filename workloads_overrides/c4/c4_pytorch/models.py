"""The LLaMA decoder in PyTorch, module for module as `c4_jax.models`."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ModelConfig
from ..numerics import INIT_STD, RMS_NORM_EPS, rope_tables


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Single precision at least."""
    return torch.promote_types(dtype, torch.float32)


class Dense(nn.Linear):
    """A matrix without bias, multiplied in a compute dtype (None: in the weight's).

    The cast is explicit: autocast would leave the embedding, and with it the residual stream, to
    rules of its own.
    """

    def __init__(self, inputs: int, outputs: int, dtype: torch.dtype | None) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.compute_dtype = dtype

    def forward(self, input: Tensor) -> Tensor:
        dtype = self.compute_dtype or self.weight.dtype
        return F.linear(input.to(dtype), self.weight.to(dtype))


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, in single precision at least."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(_wide(x.dtype))
        mean_square = wide.square().mean(-1, keepdim=True)
        return (wide * torch.rsqrt(mean_square + RMS_NORM_EPS) * self.weight).to(x.dtype)


def rotate(x: Tensor, tables: Tensor) -> Tensor:
    """Rotary embeddings of (B, heads, L, head_dim), by the (2, L, head_dim / 2) of `rope_tables`.

    Computed in the tables' precision.
    """
    cos, sin = tables
    first, second = x.to(tables.dtype).chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(turned, dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention with rotary embeddings."""

    def __init__(self, hidden: int, heads: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = Dense(hidden, hidden, dtype)
        self.k_proj = Dense(hidden, hidden, dtype)
        self.v_proj = Dense(hidden, hidden, dtype)
        self.out_proj = Dense(hidden, hidden, dtype)

    def forward(self, x: Tensor, tables: Tensor) -> Tensor:
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, tables), rotate(key, tables)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


class Mlp(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden: int, features: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.gate_proj = Dense(hidden, features, dtype)
        self.up_proj = Dense(hidden, features, dtype)
        self.down_proj = Dense(features, hidden, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention, then the MLP, each of a normed copy and added to the residual stream."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.attn_rms_ln = RMSNorm(config.hidden)
        self.attention = Attention(config.hidden, config.heads, dtype)
        self.mlp_rms_ln = RMSNorm(config.hidden)
        self.mlp = Mlp(config.hidden, config.ffn, dtype)

    def forward(self, x: Tensor, tables: Tensor) -> Tensor:
        x = x + self.attention(self.attn_rms_ln(x), tables)
        return x + self.mlp(self.mlp_rms_ln(x))


class Llama(nn.Module):
    """Logits of the next token at every position, of `max_length` at most."""

    def __init__(
        self, config: ModelConfig, max_length: int, dtype: torch.dtype | None = None
    ) -> None:
        """`dtype` is what matrix products are computed in; None: the parameters' precision."""
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(Layer(config, dtype) for _ in range(config.layers))
        self.final_rms_ln = RMSNorm(config.hidden)
        self.lm_head = Dense(config.hidden, config.vocab, dtype)
        # Made here, since NumPy in a forward pass would break a compiled graph.
        tables = np.stack(rope_tables(max_length, config.hidden // config.heads))
        self.rope: Tensor
        self.register_buffer("rope", torch.tensor(tables), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=INIT_STD)

    def forward(self, tokens: Tensor, dropout_rate: float = 0.0) -> Tensor:
        """(B, L) integers to (B, L, vocab) in the compute dtype; there is no dropout."""
        del dropout_rate
        x = self.token_embedding(tokens)
        tables = self.rope[:, : tokens.shape[1]].to(_wide(x.dtype))
        for layer in self.layers:
            x = layer(x, tables)
        return self.lm_head(self.final_rms_ln(x))
