"""Batched matrix functions over stacks `(..., m, n)`, in the Python array API.

`xp` is the array namespace (`jax.numpy` or `array_api_compat.torch`) and is always passed in.
Nothing here looks at array values from Python, so every function works under `jax.jit`.

A namespace that does one of the functions marked `replaceable` better is a `Replacing` and has a
method of that name: `matprec.torch.namespace`, for PyTorch runs operation by operation. What is
written here is then the oracle of its tests.
"""

import functools
import math
import numbers
from collections.abc import Callable
from typing import Any, Literal

import array_api_compat

Array = Any
Arrays = dict[str, Array]
Side = Literal["left", "right"]


class Replacing:
    """Base of array namespaces with their own forms of functions marked `replaceable`."""


def replaceable(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(xp, ...)`, or the method of that name, without `xp`, of an `xp` that has it."""
    name = function.__name__

    @functools.wraps(function)
    def call(xp: Any, *arguments: Any) -> Array:
        if isinstance(xp, Replacing) and hasattr(type(xp), name):
            return getattr(xp, name)(*arguments)
        return function(xp, *arguments)

    return call


def is_static(value: Any) -> bool:
    """Whether a hyperparameter is a Python number, as opposed to a traced array."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_zero(value: Any) -> bool:
    """Whether a hyperparameter is the Python number 0, which switches its part of a method off."""
    return is_static(value) and value == 0


def is_array(value: Any) -> bool:
    """Whether a hyperparameter is an array, possibly traced, whose value cannot be looked at."""
    return hasattr(value, "dtype") and not is_static(value)


def per_matrix(xp: Any, x: Array, like: Array) -> Array:
    """(B,) -> (B, 1, ..., 1), to scale or choose whole matrices of a stack `like` (B, ...)."""
    return xp.reshape(x, (-1,) + (1,) * (like.ndim - 1))


def device(x: Array) -> Any:
    """Where arrays that join `x` are to be made.

    None in JAX: naming a device would commit them to it, and the second step would compile again.
    """
    return None if array_api_compat.is_jax_array(x) else array_api_compat.device(x)


def identity_like(xp: Any, x: Array, n: int) -> Array:
    """Identities (..., n, n) with the batch shape, dtype and device of `x` (..., m, k)."""
    eye = xp.eye(n, dtype=x.dtype, device=device(x))
    return xp.broadcast_to(eye, (*x.shape[:-2], n, n))


@replaceable
def gram(xp: Any, x: Array, side: Side) -> Array:
    """X X^T (..., m, m) for the left side, X^T X (..., n, n) for the right side of (..., m, n)."""
    xt = xp.matrix_transpose(x)
    return xp.matmul(x, xt) if side == "left" else xp.matmul(xt, x)


def multiply(xp: Any, preconditioner: Array, x: Array, side: Side) -> Array:
    """P X for the left side, X P for the right side."""
    return xp.matmul(preconditioner, x) if side == "left" else xp.matmul(x, preconditioner)


@replaceable
def add_square(xp: Any, x: Array, a: float, b: float) -> Array:
    """a X + b X^2 of symmetric matrices (..., n, n)."""
    return a * x + b * xp.matmul(x, x)


@replaceable
def spectral(xp: Any, basis: Array, values: Array) -> Array:
    """Q diag(v) Q^T of a stack (..., n, n) and non-negative values (..., n); consumes Q."""
    return xp.matmul(basis * values[..., None, :], xp.matrix_transpose(basis))


@replaceable
def add_product(xp: Any, x: Array, y: Array, z: Array, a: float) -> Array:
    """a X + Y Z of stacks (..., m, n), (..., m, k) and (..., k, n)."""
    return a * x + xp.matmul(y, z)


def ema_mode_gram(xp: Any, old: Array, x: Array, axis: int, beta: Any) -> Array:
    """`ema_gram` of the unfolding of a stack (B, d1, ..., dk) along `axis`, 1 to k."""
    if x.ndim == 3:
        return ema_gram(xp, old, x, "left" if axis == 1 else "right", beta)
    moved = xp.moveaxis(x, axis, 1)
    return ema_gram(xp, old, xp.reshape(moved, (*moved.shape[:2], -1)), "left", beta)


def mode_product(xp: Any, preconditioner: Array, x: Array, axis: int) -> Array:
    """A stack (B, d1, ..., dk) times symmetric matrices (B, d, d) along `axis`, 1 to k."""
    if x.ndim == 3:
        return multiply(xp, preconditioner, x, "left" if axis == 1 else "right")
    moved = xp.moveaxis(x, axis, 1)
    product = xp.matmul(preconditioner, xp.reshape(moved, (*moved.shape[:2], -1)))
    return xp.moveaxis(xp.reshape(product, moved.shape), 1, axis)


@replaceable
def blend(xp: Any, old: Array, new: Array, beta: Any) -> Array:
    """beta * old + (1 - beta) * new. `beta = 1` means the running sum, old + new."""
    if is_static(beta):
        weight = 1.0 if beta == 1 else 1.0 - beta
    else:
        weight = xp.where(beta == 1, 1.0, 1.0 - beta)
    return beta * old + weight * new


@replaceable
def ema(xp: Any, old: Array, new: Array, beta: Any) -> Array:
    """`blend` that consumes `old`: its memory may be the result's."""
    return blend(xp, old, new, beta)


@replaceable
def ema_squares(xp: Any, old: Array, x: Array, beta: Any) -> Array:
    """`ema` of the squares of `x`, entry by entry; consumes `old`."""
    return blend(xp, old, x * x, beta)


@replaceable
def ema_gram(xp: Any, old: Array, x: Array, side: Side, beta: Any) -> Array:
    """`ema` of the Gram matrices of `x`, see `gram`; consumes `old`."""
    return blend(xp, old, gram(xp, x, side), beta)


@replaceable
def approach(xp: Any, old: Array, new: Array, weight: Array) -> Array:
    """old + weight * (new - old) with weights (B, 1, ..., 1); consumes `old`."""
    return old + weight * (new - old)


@replaceable
def choose(xp: Any, flags: Array, new: Any, old: Any) -> Array:
    """Whole matrices: `new` (B, ...) where `flags` (B,), else `old`. One of them may be a number.
    Where all flags are alike the result may be `new` or `old` itself, not a copy."""
    return xp.where(per_matrix(xp, flags, new if hasattr(new, "ndim") else old), new, old)


@replaceable
def masked(xp: Any, x: Array, keep: Array) -> Array:
    """Finite `x` where `keep`, booleans of a shape that broadcasts to its own, else 0."""
    return xp.where(keep, x, 0.0)


@replaceable
def drop_below(xp: Any, x: Array, floor: Array) -> Array:
    """`x` where |x| reaches `floor`, of a shape that broadcasts to its own, else 0."""
    return xp.where(xp.abs(x) >= floor, x, 0.0)


@replaceable
def after(xp: Any, flags: Array, x: Array) -> Array:
    """`flags` (B,), but known only when a stack (B, ...) has been computed: what depends on them
    may then be written to the memory of what `x` depends on."""
    return flags


@replaceable
def either(
    xp: Any,
    first: Array,
    second: Array,
    one: Callable[[], Arrays],
    other: Callable[[], Arrays],
) -> Arrays:
    """Arrays (B, ...) with the rows of `one()` where `first` (B,), with those of `other()` where
    `second`, and any where neither; what no row asks for need not be computed."""
    rest = other()
    return {key: choose(xp, first, value, rest[key]) for key, value in one().items()}


@replaceable
def take_rows(xp: Any, x: Array, order: Array) -> Array:
    """The rows of a stack (B, d, n) in the order of the numbers (B, d)."""
    return xp.take_along_axis(x, order[:, :, None], axis=-2)


@replaceable
def quotient(xp: Any, x: Array, y: Array, scale: Array, eps: Any) -> Array:
    """x / (sqrt(y / scale) + eps) for stacks (B, ...) and a scale (B, 1, ..., 1) or number."""
    return x / (xp.sqrt(y / scale) + eps)


def debias(xp: Any, x: Array, beta: Any, t: Array) -> Array:
    """x / (1 - beta^t) for a stack (B, ...) and update counts t (B,); x for a running sum."""
    if is_static(beta) and beta in (0, 1):
        return x
    return x / bias(xp, x, beta, t)


def bias(xp: Any, x: Array, beta: Any, t: Array) -> Array:
    """1 - beta^t, or 1 for a running sum, (B, 1, ..., 1) for a stack `x` and update counts t (B,).

    It is taken as -expm1(t log beta), which in float32 keeps the digits that the plain form loses
    at small t. `t` counts from 1; 0 (a matrix that has seen nothing) counts as 1.
    """
    t = xp.where(t < 1, 1.0, t)
    if not is_static(beta):
        correction = xp.where(beta == 1, 1.0, -xp.expm1(t * xp.log(beta)))
    elif beta in (0, 1):
        correction = xp.ones_like(t)
    else:
        correction = -xp.expm1(t * math.log(beta))
    return per_matrix(xp, correction, x)


def all_finite(xp: Any, x: Array) -> Array:
    """Which matrices (...) of a stack (..., m, n) are finite.

    A weighted sum of finite entries is finite, if the weights are as small as these, and any other
    is not. As a matrix product it takes one pass, without another array.
    """
    rows, columns = x.shape[-2:]
    small = xp.full((columns,), 2.0**-64, dtype=x.dtype, device=device(x))
    ones = xp.ones((rows,), dtype=x.dtype, device=device(x))
    return xp.isfinite(xp.matmul(xp.matmul(x, small), ones))


@replaceable
def any_nonzero(xp: Any, x: Array) -> Array:
    """Which matrices of a stack (B, ...) have an entry that is not zero, shape (B,)."""
    return xp.any(x != 0, axis=tuple(range(1, x.ndim)))


def vanishes(xp: Any, a: Array) -> Array:
    """Which symmetric positive semi-definite matrices of a stack (B, n, n) are zero: those whose
    diagonal is."""
    return ~any_nonzero(xp, xp.linalg.diagonal(a))


@replaceable
def line_squares(xp: Any, x: Array, axis: int) -> Array:
    """Sums of squares along an axis, which stays, with length 1."""
    return xp.sum(x * x, axis=axis, keepdims=True)


@replaceable
def orthonormal(xp: Any, x: Array) -> Array:
    """Orthonormal columns (..., m, n), m >= n, that span the same as those of `x`: Q of x = QR."""
    return xp.linalg.qr(x)[0]


def norm(xp: Any, x: Array) -> Array:
    """Frobenius norms of a stack (B, m, n) or (B, d1, ..., dk), shape (B, 1, ..., 1)."""
    return per_matrix(xp, xp.sqrt(squares(xp, x)), x)


@replaceable
def squares(xp: Any, x: Array) -> Array:
    """Sums of squares of the matrices of a stack (B, ...), shape (B,)."""
    return xp.sum(x * x, axis=tuple(range(1, x.ndim)))


def divide_or_zero(xp: Any, x: Array, y: Array) -> Array:
    """x / y, and 0 where y is 0."""
    return xp.where(y == 0, 0.0, x / xp.where(y == 0, 1.0, y))


def accept(xp: Any, state: Arrays, new: Arrays, ok: Array) -> Arrays:
    """`state` with `new` (B, ...) where `ok` (B,); refusals are counted in `failed_roots`."""
    kept = {key: choose(xp, ok, value, state[key]) for key, value in new.items()}
    failed = state["failed_roots"] + xp.astype(~ok, state["failed_roots"].dtype)
    return state | kept | {"failed_roots": failed}
