"""Second moments as an outer product of row and column sums, and averages without bias.

Stacks (B, m, n); `t` (B,) counts updates from 1. With time-corrected decays

    b_t = beta (1 - beta^(t-1)) / (1 - beta^t),    1 - b_t = (1 - beta) / (1 - beta^t)

the average x_t = b_t x_{t-1} + (1 - b_t) y_t has b_1 = 0, so that it starts from its first term,
and it equals the exponential average divided by 1 - beta^t at every t.
"""

import math
from typing import Any

from matprec import linalg

Array = Any
State = dict[str, Array]


def average(xp: Any, old: Array, new: Array, beta: Any, t: Array) -> Array:
    """b_t * old + (1 - b_t) * new; consumes `old`. `beta = 1` means the running sum, old + new."""
    if linalg.is_static(beta) and beta == 1:
        return old + new
    weight = linalg.per_matrix(xp, new_weight(xp, beta, t), new)
    if linalg.is_static(beta):
        return linalg.approach(xp, old, new, weight)
    return xp.where(beta == 1, old + new, old + weight * (new - old))


def corrected_decay(xp: Any, beta: Any, t: Array) -> Array:
    """b_t for decays below 1, shape (B,)."""
    return 1.0 - new_weight(xp, beta, t)


def new_weight(xp: Any, beta: Any, t: Array) -> Array:
    """1 - b_t, shape (B,): 1 at t = 1, towards 1 - beta; see `linalg.debias` for the precision."""
    if linalg.is_static(beta) and beta == 0:
        return xp.ones_like(t)
    rate = math.log(beta) if linalg.is_static(beta) else xp.log(beta)
    later = xp.where(t > 1, t, 2.0)
    return xp.where(t > 1, (1.0 - beta) / -xp.expm1(later * rate), 1.0)


def average_sums(xp: Any, state: State, x: Array, eps: Any, beta: Any) -> State:
    """`rows` (B, m, 1) and `columns` (B, 1, n): averages of the sums of x^2 + eps."""
    squares, t = x * x, state["t"]
    rows = xp.sum(squares, axis=-1, keepdims=True) + x.shape[-1] * eps
    columns = xp.sum(squares, axis=-2, keepdims=True) + x.shape[-2] * eps
    return {
        "rows": average(xp, state["rows"], rows, beta, t),
        "columns": average(xp, state["columns"], columns, beta, t),
    }


def normalise(xp: Any, x: Array, rows: Array, columns: Array) -> Array:
    """x / sqrt(Vhat) with Vhat = r s^T / sum(r), which has row sums r and column sums s.

    `rows` r is (B, m, 1), `columns` s is (B, 1, n). Their product, which would underflow in
    float32, is not formed. A row or column whose sum is 0 stays 0.
    """
    total = xp.sum(rows, axis=-2, keepdims=True)
    shares = xp.sqrt(linalg.divide_or_zero(xp, rows, total))
    x = x * linalg.divide_or_zero(xp, xp.ones_like(shares), shares)
    return x * linalg.divide_or_zero(xp, xp.ones_like(columns), xp.sqrt(columns))


def clipped(xp: Any, x: Array, clip: Any) -> Array:
    """x / max(1, RMS(x) / clip) for every matrix; x itself for None."""
    if clip is None:
        return x
    rms = xp.sqrt(xp.mean(x * x, axis=(-2, -1), keepdims=True))
    return x / xp.where(rms > clip, rms / clip, 1.0)
