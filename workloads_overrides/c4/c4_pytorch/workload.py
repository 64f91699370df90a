"""The C4 workloads in PyTorch."""

import torch

from ...base.softmax_pytorch import PytorchSoftmaxWorkload
from ..workload import BaseC4Workload
from .models import Llama


class PytorchC4Workload(PytorchSoftmaxWorkload, BaseC4Workload):
    """A size of it is a subclass with `BaseC4Workload`'s attributes."""

    def _make_model(self) -> Llama:
        dtype = None if self.compute_dtype == "float32" else getattr(torch, self.compute_dtype)
        return Llama(self.model_config, self.context_length, dtype)
