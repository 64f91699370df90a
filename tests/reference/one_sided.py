"""Plain NumPy float64 references of theoretical ASGO, DASGO and Muon, one matrix at a time.

* ASGOTheory (arXiv 2503.20762, Algorithm 1): V <- V + G G^T, U = (V^(1/2) + eps I)^(-1) G, or the
  mirror image on the right side. No momentum, no alignment of the length. Here eigenvalues of V
  that are rounding are raised (see `inverse_root`): their directions would be divided by eps alone.
* DASGO (same paper): v_j <- ema(v_j, sum_i G_ij^2) for each column (input feature) j,
  U_ij = M_ij / sqrt(v_j + eps), brought to RMS 0.2; M and v raw averages.
* Muon: M <- mu M + (1 - mu) G, G' = (1 - mu) G + mu M (Nesterov) or M; five quintic steps
  X <- a X + (b XX^T + c (XX^T)^2) X from G' / ||G'||, times a factor of the shape.
"""

from __future__ import annotations

import numpy as np
from reference.optimizers import Optimizer, ema, inverse_root, scaled_to, takes_right, turn

QUINTIC = (3.4445, -4.7750, 2.0315)


class AsgoTheoryRule:
    def __init__(self, shape, weight_decay, eps, side, max_dim):
        self.weight_decay, self.eps = weight_decay, eps
        self.right = takes_right(shape, side, max_dim)
        d = shape[1] if self.right else shape[0]
        self.v, self.root, self.refreshed = np.zeros((d, d)), np.eye(d), False

    def update(self, g, w, step, due):
        self.v = self.v + (g.T @ g if self.right else g @ g.T)
        if turn(self, g, due):
            self.root = inverse_root(self.v, 1 / 2, self.eps, "outside")
        u = g @ self.root if self.right else self.root @ g
        return u + self.weight_decay * w


class DasgoRule:
    def __init__(self, shape, weight_decay, beta1, beta2, eps):
        self.weight_decay, self.beta1, self.beta2, self.eps = weight_decay, beta1, beta2, eps
        self.m, self.v = np.zeros(shape), np.zeros(shape[1])

    def update(self, g, w, step, due):
        self.m = ema(self.m, g, self.beta1)
        self.v = ema(self.v, np.sum(g**2, axis=0), self.beta2)
        u = self.m / np.sqrt(self.v + self.eps)
        return scaled_to(u, 0.2 * np.sqrt(u.size)) + self.weight_decay * w


def quintic_polar(g: np.ndarray, steps: int) -> np.ndarray:
    """Roughly the polar factor of g: singular values after normalisation are driven towards 1."""
    x = scaled_to(g, 1.0)
    if g.shape[0] > g.shape[1]:
        return quintic_polar(g.T, steps).T
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class MuonRule:
    def __init__(self, shape, weight_decay, momentum, nesterov, ns_steps, adjust_lr):
        self.weight_decay, self.mu, self.nesterov = weight_decay, momentum, nesterov
        self.ns_steps, self.m = ns_steps, np.zeros(shape)
        rows, cols = shape
        if adjust_lr == "original":
            self.factor = np.sqrt(max(1, rows / cols))
        else:
            self.factor = 0.2 * np.sqrt(max(rows, cols))

    def update(self, g, w, step, due):
        self.m = self.mu * self.m + (1 - self.mu) * g
        mixed = (1 - self.mu) * g + self.mu * self.m if self.nesterov else self.m
        return self.factor * quintic_polar(mixed, self.ns_steps) + self.weight_decay * w


class OneSided(Optimizer):
    """Heads, embeddings and vectors on NAdamW."""

    fallback_roles = ("embedding", "vector", "head")


class ASGOTheory(OneSided):
    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        eps=1e-8, side="left", refresh_every=1, max_dim=8192,
    ):  # fmt: skip
        if side not in ("small", "left", "right"):
            raise ValueError(f"side {side!r}")
        self.hp = (eps, side, max_dim)
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, max_dim=max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return AsgoTheoryRule(shape, weight_decay, *self.hp)


class DASGO(OneSided):
    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.95, eps=1e-8, max_dim=8192,
    ):  # fmt: skip
        self.hp = (beta1, beta2, eps)
        super().__init__(shapes, roles, weight_layout, lr, weight_decay, max_dim=max_dim)

    def matrix_rule(self, shape, weight_decay):
        return DasgoRule(shape, weight_decay, *self.hp)


class Muon(OneSided):
    """The factor adjust_lr: "original" is sqrt(max(1, rows / cols)), "match_rms_adamw" is
    0.2 sqrt(max(rows, cols)).
    """

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        momentum=0.95, nesterov=True, ns_steps=5, adjust_lr="match_rms_adamw", max_dim=8192,
    ):  # fmt: skip
        if adjust_lr not in ("original", "match_rms_adamw"):
            raise ValueError(f"adjust_lr {adjust_lr!r}")
        self.hp = (momentum, nesterov, ns_steps, adjust_lr)
        super().__init__(shapes, roles, weight_layout, lr, weight_decay, max_dim=max_dim)

    def matrix_rule(self, shape, weight_decay):
        return MuonRule(shape, weight_decay, *self.hp)
