"""PyTorch's process set-up: AlgoPerf's function where installed, else the same."""

import os
from typing import TYPE_CHECKING

import torch

from algoperf_api import HAS_ALGOPERF

if HAS_ALGOPERF and not TYPE_CHECKING:
    from algoperf.pytorch_utils import pytorch_setup
else:

    def pytorch_setup() -> tuple[bool, int, torch.device, int]:
        """(use_ddp, rank, device, number of GPUs) of this process; `torchrun` sets LOCAL_RANK."""
        use_ddp = "LOCAL_RANK" in os.environ
        rank = int(os.environ["LOCAL_RANK"]) if use_ddp else 0
        device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
        return use_ddp, rank, device, torch.cuda.device_count()


__all__ = ["pytorch_setup"]
