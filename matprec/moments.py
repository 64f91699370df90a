"""Adam's pieces, shared by the elementwise methods and by grafting to them.

Stacks (B, m, n); `t` (B,) counts updates from 1.
"""

from typing import Any

from matprec import linalg

Array = Any


def corrected_mean(
    xp: Any, mean: Array, grads: Array, beta1: Any, t: Array, *, nesterov: bool
) -> Array:
    """The first moment without its bias, M / (1 - beta1^t).

    With `nesterov` M is mixed with the gradient once more, beta1 M + (1 - beta1) G, and divided by
    the same 1 - beta1^t: NAdam in AlgoPerf's form (arXiv 1910.05446, table 1).
    """
    mixed = linalg.blend(xp, mean, grads, beta1) if nesterov else mean
    return linalg.debias(xp, mixed, beta1, t)


def adam(xp: Any, mean: Array, second_moment: Array, beta2: Any, eps: Any, t: Array) -> Array:
    """mean / (sqrt(V / (1 - beta2^t)) + eps) (arXiv 1412.6980); `mean` has lost its bias."""
    bias = linalg.bias(xp, second_moment, beta2, t)
    return linalg.quotient(xp, mean, second_moment, bias, eps)
