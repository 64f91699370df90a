"""Batched matrix functions over stacks `(..., m, n)`, in the Python array API.

`xp` is the array namespace (`jax.numpy` or `array_api_compat.torch`) and is always passed in.
Nothing here looks at array values from Python, so every function works under `jax.jit`.
"""

import math
from typing import Any, Literal

import array_api_compat

Array = Any
Side = Literal["left", "right"]
EpsMode = Literal["relative_max", "relative_mean", "absolute"]
EPS_MODES: tuple[EpsMode, ...] = ("relative_max", "relative_mean", "absolute")


def is_static(value: Any) -> bool:
    """Whether a hyperparameter is a Python number, as opposed to a traced array."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_array(value: Any) -> bool:
    """Whether a hyperparameter is an array, possibly traced, whose value cannot be looked at."""
    return hasattr(value, "dtype") and not is_static(value)


def per_matrix(x: Array) -> Array:
    """(B,) -> (B, 1, 1), to scale whole matrices of a stack (B, m, n)."""
    return x[:, None, None]


def identity_like(xp: Any, x: Array, n: int) -> Array:
    """Identities (..., n, n) with the batch shape, dtype and device of `x` (..., m, k)."""
    # Naming its device would commit a JAX array to it, and the second step would compile again.
    device = None if array_api_compat.is_jax_array(x) else array_api_compat.device(x)
    eye = xp.eye(n, dtype=x.dtype, device=device)
    return xp.broadcast_to(eye, (*x.shape[:-2], n, n))


def gram(xp: Any, x: Array, side: Side) -> Array:
    """X X^T (..., m, m) for the left side, X^T X (..., n, n) for the right side of (..., m, n)."""
    xt = xp.matrix_transpose(x)
    return xp.matmul(x, xt) if side == "left" else xp.matmul(xt, x)


def multiply(xp: Any, preconditioner: Array, x: Array, side: Side) -> Array:
    """P X for the left side, X P for the right side."""
    return xp.matmul(preconditioner, x) if side == "left" else xp.matmul(x, preconditioner)


def ema(xp: Any, old: Array, new: Array, beta: Any) -> Array:
    """beta * old + (1 - beta) * new. `beta = 1` means the running sum, old + new."""
    if is_static(beta):
        weight = 1.0 if beta == 1 else 1.0 - beta
    else:
        weight = xp.where(beta == 1, 1.0, 1.0 - beta)
    return beta * old + weight * new


def debias(xp: Any, x: Array, beta: Any, t: Array) -> Array:
    """x / (1 - beta^t) for a stack (B, m, n) and update counts t (B,); x itself for a running sum.

    1 - beta^t is taken as -expm1(t log beta), which in float32 keeps the digits that the plain
    form loses at small t. `t` counts from 1; 0 (a matrix that has seen nothing) counts as 1.
    """
    t = xp.where(t < 1, 1.0, t)
    if is_static(beta):
        if beta in (0, 1):
            return x
        correction = -xp.expm1(t * math.log(beta))
    else:
        correction = xp.where(beta == 1, 1.0, -xp.expm1(t * xp.log(beta)))
    return x / per_matrix(correction)


def norm(xp: Any, x: Array) -> Array:
    """Frobenius norms of a stack (..., m, n), shape (..., 1, 1)."""
    return xp.sqrt(xp.sum(x * x, axis=(-2, -1), keepdims=True))


def divide_or_zero(xp: Any, x: Array, y: Array) -> Array:
    """x / y, and 0 where y is 0."""
    return xp.where(y == 0, 0.0, x / xp.where(y == 0, 1.0, y))


def inverse_root(
    xp: Any, a: Array, exponent: Any, *, eps: Any, eps_mode: EpsMode = "relative_max"
) -> tuple[Array, Array]:
    """A^-exponent of symmetric positive semi-definite matrices, by eigendecomposition.

    Args:
      xp: array namespace.
      a: stack (..., n, n) of symmetric matrices, float32 or float64.
      exponent: positive number, 1/2 for the inverse square root.
      eps: damping; with lambda the eigenvalues of A,
        relative_max: lambda + eps max(lambda), at least half the damping;
        relative_mean: lambda + eps mean(lambda), at least half the damping;
        absolute: lambda - min(lambda_min, 0) + eps.
      eps_mode: one of EPS_MODES.

    Returns:
      (root, ok): the roots (..., n, n), and (...) booleans that are False where A or its root is
      not finite; such an A is replaced by the identity before the factorisation, because
      `torch.linalg.eigh` raises on NaN. Damped eigenvalues that are not positive are dropped; where
      none is positive, as for zero with a relative ridge, the root is the identity: a zero root
      would freeze a tensor whose gradient happened to be zero at a refresh until the next one.
    """
    finite = xp.all(xp.isfinite(a), axis=(-2, -1))
    safe = xp.where(finite[..., None, None], a, identity_like(xp, a, a.shape[-1]))
    eigenvalues, basis = xp.linalg.eigh(safe)
    damped = _damp(xp, eigenvalues, eps, eps_mode)
    positive = damped > 0
    powers = xp.where(positive, xp.where(positive, damped, 1.0) ** -exponent, 0.0)
    powers = xp.where(positive[..., -1:], powers, 1.0)
    root = xp.matmul(basis * powers[..., None, :], xp.matrix_transpose(basis))
    return root, finite & xp.all(xp.isfinite(root), axis=(-2, -1))


def _damp(xp: Any, eigenvalues: Array, eps: Any, eps_mode: EpsMode) -> Array:
    """Damped eigenvalues (..., n) from ascending ones."""
    if eps_mode == "absolute":
        smallest = eigenvalues[..., :1]
        return eigenvalues - xp.where(smallest < 0, smallest, 0.0) + eps
    if eps_mode == "relative_max":
        scale = eigenvalues[..., -1:]
    else:
        scale = xp.mean(eigenvalues, axis=-1, keepdims=True)
    ridge = eps * xp.where(scale > 0, scale, 0.0)
    return xp.maximum(eigenvalues + ridge, ridge / 2)


def accept(xp: Any, state: dict[str, Array], new: dict[str, Array], ok: Array) -> dict[str, Array]:
    """`state` with `new` (B, n, n) where `ok` (B,); refusals are counted in `failed_roots`."""
    kept = {key: xp.where(per_matrix(ok), value, state[key]) for key, value in new.items()}
    failed = state["failed_roots"] + xp.astype(~ok, state["failed_roots"].dtype)
    return state | kept | {"failed_roots": failed}
