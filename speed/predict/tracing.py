"""What PyTorch is asked to do for a stack of matrices: operations, traced without any data."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from matprec import step as stepping
from matprec.algorithms.base import Algorithm
from matprec.torch.namespace import Namespace
from speed.predict.roofline import Load

# FLOPs with vectors, for order n or m x n with m >= n (Golub, Van Loan: Matrix Computations, 4th
# edition): tridiagonal QR with accumulation (8.3), Householder QR and its full Q (5.2), all three
# factors of Golub and Reinsch's SVD (8.6).
_FACTORISATIONS: dict[str, Callable[[int, int], float]] = {
    "aten::_linalg_eigh": lambda m, n: 9 * n**3,
    "aten::linalg_qr": lambda m, n: 2 * n**2 * (m - n / 3) + 4 * (m**2 * n - m * n**2 + n**3 / 3),
    "aten::_linalg_svd": lambda m, n: 4 * m**2 * n + 8 * m * n**2 + 9 * n**3,
}
_PRODUCTS = ("aten::bmm", "aten::baddbmm", "aten::baddbmm_", "aten::mm", "aten::addmm")
_NO_LAUNCH = ("aten::empty", "aten::new_empty", "aten::detach", "aten::_unsafe_view")


@functools.cache
def trace(algorithm: Algorithm, batch: int, rows: int, columns: int) -> tuple[Load, Load]:
    """(step, refresh) of a stack (batch, rows, columns), a refresh being what comes on top, not the
    first.

    As the algorithm's own functions run on a device other than a CPU, one operation after another;
    the adapter's part, gathering gradients and handing out updates, is not in it.
    """
    xp = Namespace()
    with torch.no_grad():
        grads = torch.empty((batch, rows, columns), device="meta")
        state = stepping.init(xp, algorithm, grads)
        with Recorder() as step:
            state = algorithm.accumulate(xp, dict(state), grads)
            _, state = algorithm.direction(xp, state, grads, None)
        if algorithm.refresh_at == "never":
            return step.load(), Load()
        with Recorder() as refresh:
            parts = algorithm.decompose(xp, state, grads, first=False)
            algorithm.refresh(xp, state | parts, grads)
    return step.load(), refresh.load()


class Recorder(TorchDispatchMode):
    """Adds up what every operation reads, writes and computes; views do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._products: Counter = Counter()
        self._moved = self._launches = 0
        self._factorised = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name
        if func.is_view or name.startswith(_NO_LAUNCH):
            return out
        # What `out` holds is written, not read.
        read = (args, {key: value for key, value in kwargs.items() if key != "out"})
        tensors = [x for x in tree_leaves(read) if isinstance(x, torch.Tensor)]
        made = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self._launches += 1
        if name in _PRODUCTS:
            left, right = tensors[-2:]
            number = left.shape[0] if left.ndim == 3 else 1
            self._products[left.shape[-2], left.shape[-1], right.shape[-1]] += number
        elif name in _FACTORISATIONS:
            matrix = tensors[0]
            number = matrix[..., 0, 0].numel()
            long, short = max(matrix.shape[-2:]), min(matrix.shape[-2:])
            self._factorised += number * _FACTORISATIONS[name](long, short)
        else:
            self._moved += sum(x.numel() * x.element_size() for x in (*tensors, *made))
        return out

    def load(self) -> Load:
        return Load(self._products, self._moved, self._launches, self._factorised)
