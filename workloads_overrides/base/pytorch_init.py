"""flax's default initial values in PyTorch."""

import math

import torch
from torch import nn

# The standard deviation of a unit normal cut at two, by which the cut one is rescaled.
_TRUNCATED_STD = 0.87962566103423978


@torch.no_grad()
def lecun_normal_(module: nn.Linear | nn.Conv2d) -> None:
    """Weights of variance 1 / fan-in, normal, cut at two standard deviations; zero biases."""
    fan_in = module.weight[0].numel()
    std = 1.0 / math.sqrt(fan_in) / _TRUNCATED_STD
    nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
