"""The C4 workloads in PyTorch."""

import torch

from ...base.pytorch_workload import DEVICE
from ...base.softmax_pytorch import PytorchSoftmaxWorkload
from ..constants import C4Constants, C4Llama60MConstants, C4Llama350MConstants
from ..workload import BaseC4Workload
from .models import Llama


class PytorchC4Workload(PytorchSoftmaxWorkload, BaseC4Workload):
    """A size of it is a subclass with `BaseC4Workload`'s attributes."""

    def _make_model(self) -> Llama:
        name = self._matrix_dtype
        dtype = None if name is None else getattr(torch, name)
        return Llama(self.model_config, self.context_length, dtype)

    def _has_bfloat16(self) -> bool:
        return has_bfloat16(DEVICE)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 in hardware: NVIDIA's GPUs since Ampere.

    Older ones and CPUs can, but not faster than in single precision.
    """
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


class C4Workload(C4Constants, PytorchC4Workload):
    """The 130M model."""


class C4Llama60MWorkload(C4Llama60MConstants, PytorchC4Workload):
    """The 60M model."""


class C4Llama350MWorkload(C4Llama350MConstants, PytorchC4Workload):
    """The 350M model."""
