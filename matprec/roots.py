"""Inverse roots of batched symmetric positive semi-definite matrices, by four methods.

`inverse_root` gives (A + ridge I)^-exponent, or with `eps_mode="outside"` (A^exponent + eps I)^-1.

* eigh: eigendecomposition; any exponent, any damping; floors eigenvalues that rounding has made
  negative. The fastest on a CPU.
* newton: coupled Newton iteration for the inverse p-th root (arXiv 2002.09018), exponent 1/p. With
  z = (1 + p) / (2 ||A||), X_0 = z^{1/p} I and M_0 = z A, repeat
      T = (1 + 1/p) I - M / p,   X <- X T,   M <- T^p M;    M -> I and X -> A^{-1/p}.
  An eigenvalue m of M becomes m (1 + (1 - m)/p)^p: small ones grow by (1 + 1/p)^p a step.
* newton_schulz, polar_express: the coupled quintics of `matprec.polar` for exponent 1/2. For 1/4
  they run twice, the second time on the A^{1/2} that the first gives besides A^{-1/2}.

The last three are matrix products alone, for devices whose eigendecompositions loop over a batch.
The products must be as exact as the dtype (no TF32). They see A as A + ridge I only, so the ridge
must exceed the rounding errors of A, about 1e-6 of the largest eigenvalue in float32: below that a
singular A has eigenvalues that are zero or negative, and its root is refused. relative_mean's may
be as little as the nth part of eps max(lambda). Numbers of steps are fixed:
enough for eigenvalues down to a tenth of the rounding unit times ||A||, and steps after convergence
change nothing. (polar_express has its 10 and under-amplifies below 1e-8 ||A||.)

This project's own: a root is accepted where the spectral norm of R = X^p (A + ridge I) - I is below
1/2. R is computed from X, because the coupled M does not show errors: it comes within 2e-7 of I
whatever rounding did to X on the way. So eigenvalues of X are at most 30 % too small and 23 % too
large for p = 2. (Roots by `eigh` are not tested: they are as good as the ridge allows.) A direction
that has not converged has up to 1, one that rounding has blown up more, and what diverges is
infinite or NaN.
"""

import math
from typing import Any, Literal

from matprec import linalg, polar
from matprec.linalg import Array

EpsMode = Literal["relative_max", "relative_mean", "absolute", "outside"]
EPS_MODES: tuple[EpsMode, ...] = ("relative_max", "relative_mean", "absolute", "outside")
RootMethod = Literal["eigh", "newton", "newton_schulz", "polar_express"]
ROOT_METHODS: tuple[RootMethod, ...] = ("eigh", "newton", "newton_schulz", "polar_express")

_LARGEST_RESIDUAL = 0.5
_SQUARINGS = 6


def inverse_root(
    xp: Any,
    a: Array,
    exponent: Any,
    *,
    eps: Any,
    eps_mode: EpsMode = "relative_max",
    method: RootMethod = "eigh",
) -> tuple[Array, Array]:
    """A^-exponent of symmetric positive semi-definite matrices.

    Args:
      xp: array namespace.
      a: stack (..., n, n) of symmetric matrices, float32 or float64.
      exponent: positive number, 1/2 for the inverse square root; may be traced with eigh only.
      eps: damping; with lambda the eigenvalues of A, the root has for lambda^-exponent
        relative_max: (lambda + eps max(lambda))^-exponent, of at least half the damping;
        relative_mean: (lambda + eps mean(lambda))^-exponent, of at least half the damping;
        absolute: (lambda - min(lambda_min, 0) + eps)^-exponent;
        outside: 1 / (lambda^exponent + eps), lambda at least n u max(lambda), u the rounding unit:
        rounding errors of zero would otherwise be divided by eps alone.
        The other methods than eigh know neither half the damping nor lambda_min, and their
        max(lambda) is up to 7 % too small for n = 1024, less than 1 % for usual spectra.
      eps_mode: one of EPS_MODES.
      method: one of ROOT_METHODS.

    Returns:
      (root, ok): the roots (..., n, n), and (...) booleans that are False where A or its root is
      not finite or, with other methods than eigh, not close enough to a root. An A that is not
      finite is replaced by the identity before the factorisation, because `torch.linalg.eigh`
      raises on NaN. Damped eigenvalues that are not positive are dropped (by eigh); where none is
      positive, as for zero with a relative ridge, the root is the identity: a zero root would
      freeze a tensor whose gradient happened to be zero at a refresh until the next one.

    Raises:
      ValueError: if the method cannot do what is asked, see `check_root_method`.
    """
    check_root_method("inverse_root", method, exponent, eps_mode)
    finite = linalg.all_finite(xp, a)
    safe = xp.where(finite[..., None, None], a, linalg.identity_like(xp, a, a.shape[-1]))
    if method == "eigh":
        root, ok = _by_eigh(xp, safe, exponent, eps, eps_mode), True
    else:
        root, ok = _by_products(xp, safe, round(1 / exponent), eps, eps_mode, method)
    return root, finite & ok & linalg.all_finite(xp, root)


def check_root_method(owner: str, method: Any, exponent: Any, eps_mode: Any) -> None:
    """Raise ValueError, one line, if `method` cannot take this exponent or this damping."""
    for name, value, choices in (
        ("root_method", method, ROOT_METHODS),
        ("eps_mode", eps_mode, EPS_MODES),
    ):
        if value not in choices:
            raise ValueError(f"{owner}: {name}={value!r} is not one of {', '.join(choices)}")
    if method == "eigh":
        return
    if eps_mode == "outside":
        raise ValueError(f"{owner}: eps_mode='outside' needs root_method='eigh', not {method!r}")
    if not linalg.is_static(exponent):
        raise ValueError(f"{owner}: root_method={method!r} needs a number as exponent")
    order = round(1 / exponent) if 0 < exponent <= 1 else 0
    possible = method == "newton" or order in (2, 4)
    if not (possible and math.isclose(order * exponent, 1)):
        wanted = "1/p with an integer p" if method == "newton" else "1/2 or 1/4"
        raise ValueError(
            f"{owner}: root_method={method!r} needs the exponent {wanted}, not {exponent!r}"
        )


def _by_eigh(xp: Any, a: Array, exponent: Any, eps: Any, eps_mode: EpsMode) -> Array:
    eigenvalues, basis = xp.linalg.eigh(a)
    if eps_mode == "outside":
        least = a.shape[-1] * float(xp.finfo(a.dtype).eps) * eigenvalues[..., -1:]
        least = xp.where(least > 0, least, 0.0)
        damped = xp.maximum(eigenvalues, least) ** exponent + eps
        positive = (damped > 0) & ((eigenvalues > least) | (eps > 0))
        exponent = 1
    else:
        damped = _damp(xp, eigenvalues, eps, eps_mode)
        positive = damped > 0
    powers = xp.where(positive, xp.where(positive, damped, 1.0) ** -exponent, 0.0)
    powers = xp.where(positive[..., -1:], powers, 1.0)
    return linalg.spectral(xp, basis, powers)


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


def _by_products(
    xp: Any, a: Array, p: int, eps: Any, eps_mode: EpsMode, method: RootMethod
) -> tuple[Array, Array]:
    """(roots, ok) of order p of finite matrices, without an eigendecomposition."""
    identity = linalg.identity_like(xp, a, a.shape[-1])
    damped = a + _ridge(xp, a, eps, eps_mode) * identity
    zero = xp.all(damped == 0, axis=(-2, -1), keepdims=True)
    scale = polar.largest_entry(xp, damped)
    unit = xp.where(zero, identity, damped / scale)
    if method == "newton":
        root, converged = _newton(xp, unit, p)
    else:
        root, converged = _by_quintics(xp, unit, p, method), True
    ok = converged & (_residual(xp, root, unit, p) < _LARGEST_RESIDUAL)
    return root * scale ** (-1 / p), ok


def _ridge(xp: Any, a: Array, eps: Any, eps_mode: EpsMode) -> Array:
    """What multiple (..., 1, 1) of the identity is added to A."""
    if eps_mode == "absolute":
        return eps * xp.ones_like(a[..., :1, :1])
    if eps_mode == "relative_max":
        scale = _largest_eigenvalue(xp, a)
    else:
        scale = xp.linalg.trace(a)[..., None, None] / a.shape[-1]
    return eps * xp.where(scale > 0, scale, 0.0)


def _largest_eigenvalue(xp: Any, a: Array) -> Array:
    """tr(A^65) / tr(A^64), (..., 1, 1): the mean of the eigenvalues with their 64th powers as
    weights. Exact for multiples of projections, else too small; rotations of A do not change it."""
    power = a / polar.largest_entry(xp, a)
    for _ in range(_SQUARINGS):
        power = xp.matmul(power, power)
        power = linalg.divide_or_zero(xp, power, xp.linalg.matrix_norm(power, keepdims=True))
    weighted = xp.sum(a * power, axis=(-2, -1), keepdims=True)
    return linalg.divide_or_zero(xp, weighted, xp.linalg.trace(power)[..., None, None])


def _newton(xp: Any, a: Array, p: int) -> tuple[Array, Array]:
    """A^{-1/p} by coupled Newton, and whether M came within 0.1 of the identity."""
    identity = linalg.identity_like(xp, a, a.shape[-1])
    z = (1 + p) / (2 * xp.linalg.matrix_norm(a, keepdims=True))
    root, coupled = z ** (1 / p) * identity, z * a
    for _ in range(_steps(xp, a, (1 + 1 / p) ** p)):
        factor = (1 + 1 / p) * identity - coupled / p
        root = xp.matmul(root, factor)
        coupled = xp.matmul(xp.linalg.matrix_power(factor, p), coupled)
    distance = xp.max(xp.abs(coupled - identity), axis=(-2, -1))
    return polar.symmetrized(xp, root), distance < 0.1


def _by_quintics(xp: Any, a: Array, p: int, method: RootMethod) -> Array:
    """A^{-1/2} or, for p = 4, (A^{1/2})^{-1/2}."""
    coefficients = polar.POLAR_EXPRESS
    if method == "newton_schulz":
        coefficients = (polar.NEWTON_SCHULZ,) * _steps(xp, a, 4.0)
    if p == 4:
        a, _ = polar.coupled_square_roots(xp, a, coefficients)
    return polar.coupled_square_roots(xp, a, coefficients)[1]


def _steps(xp: Any, a: Array, growth: float) -> int:
    """Steps in which an eigenvalue of a tenth of the rounding unit grows to 1, and 4 to converge.

    `growth` is what one step multiplies small eigenvalues by.
    """
    smallest = float(xp.finfo(a.dtype).eps) / 10
    return math.ceil(-math.log(smallest) / math.log(growth)) + 4


def _residual(xp: Any, root: Array, a: Array, p: int) -> Array:
    """Bounds (...) of the spectral norms of R = X^p A - I, at most n^{1/8} too large.

    Not the largest entry of R: in a large matrix that hides one direction that has not converged.
    """
    product = a
    for _ in range(p // 2):
        product = xp.matmul(xp.matmul(root, product), root)
    if p % 2:
        product = xp.matmul(product, root)
    fourth = linalg.gram(xp, product - linalg.identity_like(xp, a, a.shape[-1]), "left")
    fourth = xp.matmul(fourth, fourth)
    return xp.linalg.matrix_norm(fourth) ** 0.25
