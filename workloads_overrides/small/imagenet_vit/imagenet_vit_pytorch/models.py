"""AlgoPerf's ViT (Dosovitskiy et al., arXiv:2010.11929) in PyTorch: pre-LN, mean, tanh head.

Written from the architecture; the same modules and names as `imagenet_vit_jax.models`.
Dropout is where AlgoPerf's JAX model has it (its PyTorch model also drops attention weights).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....base.pytorch_init import lecun_normal_
from ..positions import sincos_2d
from ..workload import VitSize


def _projection(inputs: int, outputs: int, bias_std: float = 0.0) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.normal_(linear.bias, std=bias_std)
    return linear


def _layernorm(features: int) -> nn.LayerNorm:
    return nn.LayerNorm(features, eps=1e-6)  # flax's eps


class SelfAttention(nn.Module):
    """Multi-head dot-product attention of all patches to all patches."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.num_heads = size.num_heads
        self.query = _projection(size.width, size.width)
        self.key = _projection(size.width, size.width)
        self.value = _projection(size.width, size.width)
        self.out = _projection(size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        projections = (self.query, self.key, self.value)
        q, k, v = (p(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for p in projections)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Dense, GELU (its tanh approximation), dropout, dense."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.dense_1 = _projection(size.width, size.mlp_dim, bias_std=1e-6)
        self.dense_2 = _projection(size.mlp_dim, size.width, bias_std=1e-6)

    def forward(self, x: Tensor, dropout_rate: float) -> Tensor:
        y = F.gelu(self.dense_1(x), approximate="tanh")
        return self.dense_2(F.dropout(y, dropout_rate, self.training))


class Block(nn.Module):
    """x + dropout(attention(layernorm(x))), then the same with the MLP."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.layernorm_0 = _layernorm(size.width)
        self.attention_1 = SelfAttention(size)
        self.layernorm_2 = _layernorm(size.width)
        self.mlp_3 = Mlp(size)

    def forward(self, x: Tensor, dropout_rate: float) -> Tensor:
        y = self.attention_1(self.layernorm_0(x))
        x = x + F.dropout(y, dropout_rate, self.training)
        y = self.mlp_3(self.layernorm_2(x), dropout_rate)
        return x + F.dropout(y, dropout_rate, self.training)


class ViT(nn.Module):
    """Patches with fixed positions, blocks, layer norm, mean, dense with tanh, zero head."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, size: VitSize) -> None:
        """For images of (h, w, c)."""
        super().__init__()
        height, width, channels = image_shape
        self.conv_patch_extract = nn.Conv2d(channels, size.width, size.patch_size, size.patch_size)
        grid = height // size.patch_size, width // size.patch_size
        # In double precision until it meets the activations; no part of checkpoints.
        positions = torch.from_numpy(sincos_2d(*grid, size.width))
        self.positions: Tensor
        self.register_buffer("positions", positions, persistent=False)
        self._blocks = [f"block_{i}" for i in range(size.depth)]
        for name in self._blocks:
            self.add_module(name, Block(size))
        self.layernorm = _layernorm(size.width)
        self.pre_logits = nn.Linear(size.width, size.width)
        self.head = nn.Linear(size.width, num_classes)
        lecun_normal_(self.conv_patch_extract)
        lecun_normal_(self.pre_logits)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, dropout_rate: float = 0.0) -> Tensor:
        """Logits (B, num_classes) of images (B, h, w, c)."""
        x = self.conv_patch_extract(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        x = F.dropout(x + self.positions.to(x.dtype), dropout_rate, self.training)
        for name in self._blocks:
            x = self.get_submodule(name)(x, dropout_rate)
        x = self.layernorm(x).mean(1)
        return self.head(torch.tanh(self.pre_logits(x)))
