"""Norm transfer: one direction at another one's length (algorithms 1.4 of the literature).

The functions take stacks (B, m, n) or (B, d1, ..., dk) and treat every matrix by itself; a `Graft`
asks the step to do it for whole tensors, over all their blocks. A zero direction stays zero: 0/0
is guarded.
"""

import math
from typing import Any, NamedTuple

from matprec import linalg

Array = Any


class Graft(NamedTuple):
    """A direction (B, ...) and, in (B,), the sum of squares that it shall have.

    An algorithm returns it from `direction` when the length counts per tensor: the step, which
    knows the other blocks, then makes the transfer.
    """

    direction: Array
    squares: Array


def graft(xp: Any, direction: Array, magnitude: Array) -> Array:
    """`direction` with the Frobenius norm of `magnitude` (grafting, Agarwal et al. 2020)."""
    scale = linalg.norm(xp, magnitude)
    return direction * linalg.divide_or_zero(xp, scale, linalg.norm(xp, direction))


def align_rms(xp: Any, direction: Array, rms: Any) -> Array:
    """`direction` with root mean square `rms` (0.2: ASGO, Moonlight), so Adam's rates transfer."""
    length = rms * math.prod(direction.shape[1:]) ** 0.5
    return direction * linalg.divide_or_zero(xp, length, linalg.norm(xp, direction))
