"""Batch normalisation as flax computes it, over the global batch of all ranks."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Normalises (B, C, ...) per channel, as `flax.linen.BatchNorm` does with all devices' rows.

    In training with the mean and the biased variance of the whole batch, over all ranks (PyTorch's
    own SyncBatchNorm does not exist on CPUs, and its running variance is unbiased); in evaluation
    with the running ones, running = momentum * running + (1 - momentum) * batch.
    """

    def __init__(self, features: int, momentum: float = 0.9, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.update_statistics = True
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean, var = _batch_statistics(x)
            if self.update_statistics:
                with torch.no_grad():
                    self.running_mean.lerp_(mean, 1 - self.momentum)
                    self.running_var.lerp_(var, 1 - self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)


def _batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance per channel over every rank's rows; all ranks have equally many."""
    dims = (0, *range(2, x.ndim))
    mean, square = x.mean(dims), (x * x).mean(dims)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        both = _SumOverRanks.apply(torch.stack([mean, square])) / dist.get_world_size()
        mean, square = both[0], both[1]
    return mean, torch.clamp(square - mean * mean, min=0.0)


class _SumOverRanks(torch.autograd.Function):
    """The sum of every rank's tensor, on every rank; gradients are summed likewise, as each rank's
    loss depends on every rank's rows. (`torch.distributed.nn`, which has this, is deprecated.)"""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        del ctx
        return _summed(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        del ctx
        return _summed(grads[0])


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def set_update_statistics(module: nn.Module, update: bool) -> None:
    """Whether training passes change the running statistics of the module's batch norms."""
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.update_statistics = update
