"""`c4_small` in PyTorch."""

from ....c4.c4_pytorch.workload import PytorchC4Workload
from ..workload import C4SmallConstants


class C4SmallWorkload(C4SmallConstants, PytorchC4Workload):
    """Every line but the constants is shared with the large sizes."""
