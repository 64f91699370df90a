"""Plain NumPy float64 references of Adafactor, AdafacDiag, AdafacDiag++, H-Fac and HfacDiag.

Used as those of `reference.optimizers`. Adafactor is here what the AdaDiag and H-Fac papers call by
that name: constant decays with bias correction, momentum of the raw gradient divided afterwards,
no relative step size. Every average uses the time-corrected decay

    b_t = b (1 - b^(t-1)) / (1 - b^t),     b_1 = 0,

which makes it the debiased average itself. The "Diag" versions are the same rules on the rotated
gradient of `reference.rotated`. Choices of this project, where the literature is silent:

* H-Fac's brackets use the row and column means u, v after this step's update.
* A clip divides the normalised direction N by max(1, RMS(N) / clip), one matrix at a time: in H-Fac
  the term G ./ sqrt(Vhat), in Adafactor M ./ sqrt(Vhat) with its momentum, in the "Diag" versions
  before N is rotated back. It is on by default, at 1, in H-Fac and AdafacDiag++ only.
* beta1 = 0 is Adafactor without momentum, and the fallback then has none either.

Vhat is relative, so rows or columns of G~ that hold rounding noise alone (null vectors of the
gradient at a first refresh) come out of order one: two implementations cannot agree on those.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from reference.optimizers import AdamRule, Optimizer
from reference.rotated import RotatedOptimizer, RotatedRule


def corrected_decay(beta: float, t: int) -> float:
    return beta * (1 - beta ** (t - 1)) / (1 - beta**t)


def average(old: np.ndarray, new: np.ndarray, beta: float, t: int) -> np.ndarray:
    """Debiased exponential average of t terms from that of t - 1."""
    decay = corrected_decay(beta, t)
    return decay * old + (1 - decay) * new


def rank_one(r: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Vhat = r s^T / (1^T r), which has row sums r and column sums s."""
    return np.outer(r, s) / np.sum(r)


def clipped(x: np.ndarray, clip: float | None) -> np.ndarray:
    """x / max(1, RMS(x) / clip), or x itself for None."""
    return x if clip is None else x / max(1.0, np.sqrt(np.mean(x**2)) / clip)


class AdafactorRule:
    """M ./ sqrt(Vhat), or G ./ sqrt(Vhat) for beta1 = 0, clipped."""

    def __init__(self, shape, weight_decay, beta1, beta2, eps, clip):
        m, n = shape
        self.weight_decay, self.beta1, self.beta2 = weight_decay, beta1, beta2
        self.eps, self.clip, self.t = eps, clip, 0
        self.m, self.r, self.s = np.zeros(shape), np.zeros(m), np.zeros(n)

    def update(self, g, w, step, due):
        self.t += 1
        squares = g**2 + self.eps
        self.m = average(self.m, g, self.beta1, self.t)
        self.r = average(self.r, squares.sum(axis=1), self.beta2, self.t)
        self.s = average(self.s, squares.sum(axis=0), self.beta2, self.t)
        u = clipped(self.m / np.sqrt(rank_one(self.r, self.s)), self.clip)
        return u + self.weight_decay * w


class HFacRule:
    """Factored momentum of rows and columns beside Adafactor without momentum."""

    def __init__(self, shape, weight_decay, beta1, beta2, eps, clip):
        m, n = shape
        self.weight_decay, self.beta1, self.beta2 = weight_decay, beta1, beta2
        self.eps, self.clip, self.t = eps, clip, 0
        self.u, self.v, self.r, self.s = np.zeros(m), np.zeros(n), np.zeros(m), np.zeros(n)

    def update(self, g, w, step, due):
        self.t += 1
        m, n = g.shape
        squares = g**2 + self.eps
        row_mean, column_mean = g.sum(axis=1) / n, g.sum(axis=0) / m
        self.u = average(self.u, row_mean, self.beta1, self.t)
        self.v = average(self.v, column_mean, self.beta1, self.t)
        self.r = average(self.r, squares.sum(axis=1), self.beta2, self.t)
        self.s = average(self.s, squares.sum(axis=0), self.beta2, self.t)

        beta1 = corrected_decay(self.beta1, self.t)
        phi = beta1 * (self.u - row_mean) / np.sqrt(self.r / n)
        psi = beta1 * (self.v - column_mean) / np.sqrt(self.s / m)
        scaled = clipped(g / np.sqrt(rank_one(self.r, self.s)), self.clip)
        return 0.5 * (phi[:, None] + psi[None, :]) + scaled + self.weight_decay * w


def fallback_rule(shape, weight_decay, beta1):
    """NAdamW with its own betas, without momentum where the matrices have none."""
    decay = weight_decay if len(shape) > 1 else 0.0
    return AdamRule(shape, decay, beta1=0.0 if beta1 == 0 else 0.9)


class Adafactor(Optimizer):
    """Adafactor; heads, embeddings and vectors on NAdamW with a full second moment."""

    fallback_roles = ("embedding", "vector", "head")

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-30, clip: float | None = None, max_dim=8192,
    ):  # fmt: skip
        self.hp = (beta1, beta2, eps, clip)
        super().__init__(shapes, roles, weight_layout, lr, weight_decay, max_dim=max_dim)

    def matrix_rule(self, shape, weight_decay):
        return AdafactorRule(shape, weight_decay, *self.hp)

    def other_rule(self, shape, weight_decay):
        return fallback_rule(shape, weight_decay, self.hp[0])


class AdafacDiag(RotatedOptimizer):
    """Adafactor in the singular basis of the gradient's small side."""

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-30, clip: float | None = None,
        refresh_every=200, start_step=1, max_dim=8192,
    ):  # fmt: skip
        self.beta1, self.max_side = beta1, max_dim
        self.make_rule = partial(
            AdafactorRule, weight_decay=0.0, beta1=beta1, beta2=beta2, eps=eps, clip=clip
        )
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return RotatedRule(shape, weight_decay, self.make_rule, self.is_two_sided(shape))

    def other_rule(self, shape, weight_decay):
        return fallback_rule(shape, weight_decay, self.beta1)


class AdafacDiagPlusPlus(AdafacDiag):
    """Adafactor in the singular bases of both sides."""

    two_sided = True

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-30, clip: float | None = 1.0,
        refresh_every=200, start_step=1, max_dim=8192,
    ):  # fmt: skip
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, beta1, beta2, eps, clip,
            refresh_every, start_step, max_dim,
        )  # fmt: skip


class HFac(Optimizer):
    """H-Fac; heads, embeddings and vectors on NAdamW with both full moments."""

    fallback_roles = ("embedding", "vector", "head")

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-30, clip: float | None = 1.0, max_dim=8192,
    ):  # fmt: skip
        self.hp = (beta1, beta2, eps, clip)
        super().__init__(shapes, roles, weight_layout, lr, weight_decay, max_dim=max_dim)

    def matrix_rule(self, shape, weight_decay):
        return HFacRule(shape, weight_decay, *self.hp)


class HFacDiag(RotatedOptimizer):
    """H-Fac in the singular basis of the gradient's small side."""

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-30, clip: float | None = None,
        refresh_every=200, start_step=1, max_dim=8192,
    ):  # fmt: skip
        self.make_rule = partial(
            HFacRule, weight_decay=0.0, beta1=beta1, beta2=beta2, eps=eps, clip=clip
        )
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return RotatedRule(shape, weight_decay, self.make_rule, two_sided=False)
