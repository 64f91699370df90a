"""Quintic matrix iterations: polar factors and square roots by products alone.

An odd polynomial p(s) = a s + b s^3 + c s^5 acts on the singular values of X, and keeps its
singular vectors, as

    X <- a X + (b X X^T + c (X X^T)^2) X.

Repeated, it drives all of (0, 1] towards 1 and X towards its polar factor U V^T. The same on the
square roots of the eigenvalues of a symmetric positive definite A, in coupled form (4 products):

    Y_0 = A / c,  Z_0 = I;   B = b Z Y + c (Z Y)^2,   Y <- a Y + Y B,   Z <- a Z + B Z,

where Y tends to (A / c)^{1/2} and Z to (A / c)^{-1/2}; c = 1.01 ||A|| keeps eigenvalues below 1.

Published: NEWTON_SCHULZ converges to 1 quadratically and doubles small values; MUON (Keller Jordan)
more than triples them and in 5 steps takes [0.003, 1] to values between 0.68 and 1.21, not to 1;
POLAR_EXPRESS (arXiv 2505.16932) is the sequence that is optimal on [1e-3, 1], with the authors'
safety factor 1.01 on all but the last triple, which is repeated. The coupled form with c and with
10 steps of it is ASGO's code. In all those multiply no value by more than 2.3e4: eigenvalues
below 1e-8 ||A|| are under-amplified, while further steps would blow up what rounding made of them.
This project's own: nothing is added to the norms that X and A are divided by.
"""

from collections.abc import Iterable
from typing import Any

from matprec import linalg
from matprec.linalg import Array

Quintic = tuple[float, float, float]

MUON: Quintic = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ: Quintic = (2.0, -1.5, 0.5)
_OPTIMAL: tuple[Quintic, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_LIMIT: Quintic = (1.875, -1.25, 0.375)
POLAR_EXPRESS: tuple[Quintic, ...] = (
    *((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in _OPTIMAL),
    *(_LIMIT,) * 3,
)


def polar_newton_schulz(xp: Any, x: Array, steps: int, coefficients: Quintic = MUON) -> Array:
    """Approximate polar factors U V^T of a stack (..., m, n) with X = U S V^T.

    `steps` quintic steps from X / ||X||, with Gram matrices of the smaller side. Zero stays zero,
    and the scale of X does not matter.
    """
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = xp.matrix_transpose(x)
    x = x / largest_entry(xp, x)
    x = x * linalg.divide_or_zero(xp, 1.0, xp.linalg.matrix_norm(x, keepdims=True))
    a, b, c = coefficients
    for _ in range(steps):
        factor = linalg.add_square(xp, linalg.gram(xp, x, "left"), b, c)
        x = linalg.add_product(xp, x, factor, x, a)
    return xp.matrix_transpose(x) if tall else x


def coupled_square_roots(xp: Any, a: Array, coefficients: Iterable[Quintic]) -> tuple[Array, Array]:
    """(A^{1/2}, A^{-1/2}) of positive definite stacks (..., n, n) with entries of order 1.

    One step for each triple of `coefficients`. Whether it has converged is for the caller to test.
    """
    scale = 1.01 * xp.linalg.matrix_norm(a, keepdims=True)
    root, inverse = a / scale, linalg.identity_like(xp, a, a.shape[-1])
    for p, q, r in coefficients:
        product = xp.matmul(inverse, root)
        factor = q * product + r * xp.matmul(product, product)
        root, inverse = (
            linalg.add_product(xp, root, root, factor, p),
            linalg.add_product(xp, inverse, factor, inverse, p),
        )
    return symmetrized(xp, root * xp.sqrt(scale)), symmetrized(xp, inverse / xp.sqrt(scale))


def largest_entry(xp: Any, x: Array) -> Array:
    """Largest absolute entries of a stack, (..., 1, 1); 1 for zero.

    Divided by it, the squares in a norm neither overflow nor vanish: float32 squares of the squared
    gradients in a statistic are zero for gradients below 1e-11.
    """
    largest = xp.max(xp.abs(x), axis=(-2, -1), keepdims=True)
    return xp.where(largest == 0, 1.0, largest)


def symmetrized(xp: Any, x: Array) -> Array:
    """(X + X^T) / 2."""
    return (x + xp.matrix_transpose(x)) / 2
