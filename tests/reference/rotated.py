"""Plain NumPy float64 references of AdaDiag, AdaDiag++ and GaLore.

Used as those of `reference.optimizers`, from which they take the loop over tensors, the fallback
and the rule for non-finite gradients. All of them run a simpler method on a rotated gradient,

    G~ = P^T G Q,     N = method(G~),     U = P N Q^T,

with P (m x m) or (m x r) and Q likewise for the columns; a side that is not rotated has the
identity. The bases are singular vectors of the gradient of a refresh step, taken before that step's
moments. Choices of this project, where the literature is silent:

* Small side: rows (P) if m < n, else columns (Q), squares included.
* Before its first refresh a matrix has the identity as its basis (the leading columns of it). The
  first refresh waits for a gradient that is not exactly zero; a later one from a zero gradient
  leaves the basis as it was.
* V never turns with the basis; M does only if `rotate_first_moment` is set.

Two implementations can agree only so far where G~ holds nothing but rounding noise. AdaDiag++ has a
diagonal G~ at its first step, whose noise off the diagonal, 1e-16 of G, Adam divides by eps. Null
vectors of the large side, or of a gradient without full rank, are arbitrary altogether.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from reference.optimizers import AdamRule, Optimizer, right_is_small, turn


def generic_vector(size: int) -> np.ndarray:
    """(cos 1, ..., cos size)."""
    return np.cos(np.arange(1, size + 1))


def singular_bases(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Full P (m x m) and Q (n x n) of G = P S Q^T, largest first, with signs fixed.

    The small side decides: <p_i, G r> >= 0 if m < n, else <q_i, G^T r> >= 0. Pairs (p_i, q_i) flip
    together, so P^T G Q keeps its non-negative diagonal; null vectors of the large side are as the
    SVD leaves them.
    """
    m, n = g.shape
    p, _, qt = np.linalg.svd(g, full_matrices=True)
    q = qt.T
    if right_is_small(g.shape):
        products = q.T @ (g.T @ generic_vector(m))
    else:
        products = p.T @ (g @ generic_vector(n))
    for i, product in enumerate(products):
        if product < 0:
            p[:, i] = -p[:, i]
            q[:, i] = -q[:, i]
    return p, q


class RotatedRule:
    """U = scale P N Q^T with N from a rule of its own: `make_rule(shape of G~)`, without decay.

    `rank` None keeps whole bases. `turn_moment` re-expresses that rule's M in every new basis.
    """

    def __init__(
        self, shape, weight_decay, make_rule, two_sided, rank=None, scale=1.0, turn_moment=False
    ):
        m, n = shape
        self.weight_decay, self.rank, self.scale = weight_decay, rank, scale
        self.turn_moment = turn_moment
        self.rotates_rows = two_sided or not right_is_small(shape)
        self.rotates_columns = two_sided or right_is_small(shape)
        self.p, self.q = np.eye(m), np.eye(n)
        self.set_bases(self.p, self.q)
        self.rule = make_rule((self.p.shape[1], self.q.shape[1]))
        self.refreshed = False

    def set_bases(self, p, q):
        if self.rotates_rows:
            self.p = p[:, : self.rank]
        if self.rotates_columns:
            self.q = q[:, : self.rank]

    def update(self, g, w, step, due):
        if turn(self, g, due) and np.any(g != 0):
            old_p, old_q = self.p, self.q
            self.set_bases(*singular_bases(g))
            if self.turn_moment:
                self.rule.m = (self.p.T @ old_p) @ self.rule.m @ (old_q.T @ self.q)
        rotated = self.p.T @ g @ self.q
        direction = self.rule.update(rotated, np.zeros_like(rotated), step, due)
        return self.scale * (self.p @ direction @ self.q.T) + self.weight_decay * w


class RotatedOptimizer(Optimizer):
    """Heads, embeddings and vectors on NAdamW; matrices on a RotatedRule."""

    fallback_roles = ("embedding", "vector", "head")
    two_sided = False
    max_side: int

    def is_two_sided(self, shape) -> bool:
        """A two-sided method leaves out a side that is longer than max_dim."""
        return self.two_sided and max(shape) <= self.max_side


class AdaDiag(RotatedOptimizer):
    """Adam in the singular basis of the gradient's small side."""

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-8, nesterov=False, rotate_first_moment=False,
        refresh_every=200, start_step=1, max_dim=8192,
    ):  # fmt: skip
        self.make_rule = partial(
            AdamRule, weight_decay=0.0, beta1=beta1, beta2=beta2, eps=eps, nesterov=nesterov
        )
        self.turn_moment, self.max_side = rotate_first_moment, max_dim
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return RotatedRule(
            shape,
            weight_decay,
            self.make_rule,
            self.is_two_sided(shape),
            turn_moment=self.turn_moment,
        )


class AdaDiagPlusPlus(AdaDiag):
    """Adam in the singular bases of both sides."""

    two_sided = True


class GaLore(RotatedOptimizer):
    """Adam on the projection onto the leading `rank` singular vectors of the small side."""

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        rank=128, scale=0.25, beta1=0.9, beta2=0.999, eps=1e-8,
        refresh_every=200, start_step=1, max_dim=8192,
    ):  # fmt: skip
        self.rank, self.scale = rank, scale
        self.make_rule = partial(
            AdamRule, weight_decay=0.0, beta1=beta1, beta2=beta2, eps=eps, nesterov=False
        )
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return RotatedRule(
            shape,
            weight_decay,
            self.make_rule,
            two_sided=False,
            rank=self.rank,
            scale=self.scale,
        )
