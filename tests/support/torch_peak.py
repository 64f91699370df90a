"""How much memory PyTorch holds at the height of a computation, on any device."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Live(TorchDispatchMode):
    """Adds up the storages that operations return for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def know(self, tensor: torch.Tensor) -> None:
        self._known.add(tensor.untyped_storage())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.untyped_storage() not in self._known:
                storage = value.untyped_storage()
                self._known.add(storage)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage.nbytes())
        return result

    def _gone(self, size: int) -> None:
        self.now -= size


def peak_bytes(compute: Callable[[], Any], known: list[torch.Tensor]) -> int:
    """Bytes that `compute` holds at its height on top of the tensors in `known`.

    What single operations allocate inside themselves (LAPACK's work space) is not seen.
    """
    live = _Live()
    for tensor in known:
        live.know(tensor)
    with live:
        compute()
    return live.peak
