"""Norm transfer: one direction at another one's length (algorithms 1.4 of the literature).

Both functions take stacks (B, m, n) and treat every matrix by itself. A zero direction stays
zero: 0/0 is guarded.
"""

from typing import Any

from matprec import linalg

Array = Any


def graft(xp: Any, direction: Array, magnitude: Array) -> Array:
    """`direction` with the Frobenius norm of `magnitude` (grafting, Agarwal et al. 2020)."""
    scale = linalg.norm(xp, magnitude)
    return direction * linalg.divide_or_zero(xp, scale, linalg.norm(xp, direction))


def align_rms(xp: Any, direction: Array, rms: Any) -> Array:
    """`direction` with root mean square `rms` (0.2: ASGO, Moonlight), so Adam's rates transfer."""
    rows, columns = direction.shape[-2:]
    length = rms * (rows * columns) ** 0.5
    return direction * linalg.divide_or_zero(xp, length, linalg.norm(xp, direction))
