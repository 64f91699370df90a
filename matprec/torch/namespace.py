"""PyTorch as an array namespace, with its own forms of what `matprec.linalg` calls replaceable.

PyTorch runs operation by operation, and each one reads and writes memory: the plain forms spend as
much time on that as on matrix products. `torch.where` is the slowest of all on a CPU, several times
a multiplication.
"""

import math
from collections.abc import Callable
from typing import Any

import array_api_compat.torch as compat
import torch

from matprec import linalg

# Rows of a symmetric product that are computed at once: with fewer, more is lost than saved.
_STRIP = 192


def is_host(x: torch.Tensor) -> bool:
    """Whether Python can look at a tensor without waiting for a device."""
    return x.device.type == "cpu"


def _add_symmetric(
    old: torch.Tensor, left: torch.Tensor, right: torch.Tensor, beta: float, alpha: float
) -> torch.Tensor:
    """Write beta S + alpha L R, where S and L R are symmetric (..., n, n), to S, a contiguous or
    three-dimensional one; 0 S is 0.

    On a CPU a large one is computed from the diagonal on, and the rest copied.
    """
    size = old.shape[-1]
    width = _STRIP if is_host(old) and size >= 2 * _STRIP else max(size, 1)
    number = math.prod(old.shape[:-2])
    stacks = [x.reshape(number, *x.shape[-2:]) for x in (old, left, right)]
    for start in range(0, size, width):
        stop = start + width
        whole, rows, columns = stacks
        strip = whole[:, start:stop, start:]
        strip.baddbmm_(rows[:, start:stop], columns[..., start:], beta=beta, alpha=alpha)
        whole[:, stop:, start:stop].copy_(whole[:, start:stop, stop:].mT)
    return old


class Namespace(linalg.Replacing):
    """`array_api_compat.torch`, whose choices look at their flags where that costs nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(compat, name)

    def _consumed(self, old: torch.Tensor) -> torch.Tensor:
        """What an average may be written to. Here a copy: matrices that are not live keep `old`,
        and the others get the same numbers as in a step `IN_PLACE`, to the last bit."""
        return old.clone()

    def ema(self, old: torch.Tensor, new: torch.Tensor, beta: float) -> torch.Tensor:
        """See `linalg.ema`."""
        old = self._consumed(old)
        return old.add_(new) if beta == 1 else old.lerp_(new, 1 - beta)

    def ema_squares(self, old: torch.Tensor, x: torch.Tensor, beta: float) -> torch.Tensor:
        """See `linalg.ema_squares`."""
        old = self._consumed(old)
        if beta == 1:
            return old.addcmul_(x, x)
        return old.mul_(beta).addcmul_(x, x, value=1 - beta)

    def ema_gram(
        self, old: torch.Tensor, x: torch.Tensor, side: linalg.Side, beta: float
    ) -> torch.Tensor:
        """See `linalg.ema_gram`. A large one is computed from the diagonal on, the rest copied."""
        old, rows = self._consumed(old), x if side == "left" else x.mT
        return _add_symmetric(old, rows, rows.mT, beta, 1 if beta == 1 else 1 - beta)

    def gram(self, x: torch.Tensor, side: linalg.Side) -> torch.Tensor:
        """See `linalg.gram` and `ema_gram`."""
        rows = x if side == "left" else x.mT
        size = rows.shape[-2]
        return _add_symmetric(x.new_empty(*x.shape[:-2], size, size), rows, rows.mT, 0, 1)

    def add_square(self, x: torch.Tensor, a: float, b: float) -> torch.Tensor:
        """See `linalg.add_square`; a symmetric matrix is its own transpose."""
        return _add_symmetric(x.clone(memory_format=torch.contiguous_format), x, x, a, b)

    def spectral(self, basis: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """See `linalg.spectral`."""
        half = basis.mul_(values.sqrt()[..., None, :])
        return self.gram(half, "left")

    def add_product(
        self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, a: float
    ) -> torch.Tensor:
        """See `linalg.add_product`."""
        if x.ndim != 3:
            return torch.add(torch.matmul(y, z), x, alpha=a)
        return torch.baddbmm(x, y, z, beta=a)

    def approach(self, old: torch.Tensor, new: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """See `linalg.approach`."""
        return self._consumed(old).lerp_(new, weight)

    def blend(self, old: torch.Tensor, new: torch.Tensor, beta: float) -> torch.Tensor:
        """See `linalg.blend`."""
        return old + new if beta == 1 else torch.lerp(old, new, 1 - beta)

    def quotient(
        self, x: torch.Tensor, y: torch.Tensor, scale: torch.Tensor, eps: float
    ) -> torch.Tensor:
        """See `linalg.quotient`."""
        root = torch.div(y, scale).sqrt_().add_(eps)
        return torch.div(x, root, out=root)

    def squares(self, x: torch.Tensor) -> torch.Tensor:
        """See `linalg.squares`."""
        flat = x.reshape(len(x), 1, -1)
        return torch.bmm(flat, flat.mT)[:, 0, 0]

    def orthonormal(self, x: torch.Tensor) -> torch.Tensor:
        """See `linalg.orthonormal`; on a CPU R is not put together, which takes two passes more."""
        if not is_host(x):
            return torch.linalg.qr(x)[0]
        return torch.linalg.householder_product(*torch.geqrf(x))

    def choose(self, flags: torch.Tensor, new: Any, old: Any) -> torch.Tensor:
        """See `linalg.choose`; on other devices than a CPU nobody waits for the flags."""
        like = new if isinstance(new, torch.Tensor) else old
        if is_host(flags):
            if isinstance(new, torch.Tensor) and flags.all():
                return new
            if isinstance(old, torch.Tensor) and not flags.any():
                return old
        return torch.where(linalg.per_matrix(compat, flags, like), new, old)

    def masked(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """See `linalg.masked`."""
        return x if is_host(keep) and keep.all() else x * keep

    def drop_below(self, x: torch.Tensor, floor: torch.Tensor) -> torch.Tensor:
        """See `linalg.drop_below`. What equals a floor that is not zero may be dropped: booleans
        of single entries take several times as long."""
        return x.abs().sub_(floor).sign_().clamp_(min=0).mul_(x)

    def either(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        one: Callable[[], linalg.Arrays],
        other: Callable[[], linalg.Arrays],
    ) -> linalg.Arrays:
        """See `linalg.either`; waits for the device."""
        if not first.any():
            return other()
        firsts = one()
        if not second.any():
            return firsts
        return {key: self.choose(first, firsts[key], value) for key, value in other().items()}

    def take_rows(self, x: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """See `linalg.take_rows`; whole rows are copied, not entries."""
        start = x.shape[1] * torch.arange(len(x), device=x.device)[:, None]
        return x.reshape(-1, x.shape[2]).index_select(0, (order + start).reshape(-1)).view(x.shape)


class InPlace(Namespace):
    """A `Namespace` for steps in which every matrix is live: averages reuse their memory."""

    def _consumed(self, old: torch.Tensor) -> torch.Tensor:
        return old


PLAIN, IN_PLACE = Namespace(), InPlace()
