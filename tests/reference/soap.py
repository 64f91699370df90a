"""Plain NumPy float64 reference of SOAP (arXiv 2409.11321), one matrix or block at a time.

With bases Q_L, Q_R (identity at first) and t counting this step, from the second step on:

    M <- ema(M, G)    V <- ema(V, G~^2)    G~ = Q_L^T G Q_R    M~ = Q_L^T M Q_R
    U = Q_L [ Mhat ./ (sqrt(Vhat) + eps) ] Q_R^T,  both debiased with t - 1 terms.

After the update L <- ema(L, G G^T), R <- ema(R, G^T G), and the bases are refreshed when due: by
eigh in descending order the first time, whatever step that is, later by one power step, QR(L Q), on
columns sorted by their Rayleigh quotients, the entries of V being sorted alongside. The first step
of a tensor with a finite gradient, even a zero one, only fills L and R: no update, no decay.

M is kept here in the original coordinates, which is what rotating it at every refresh amounts to.
A side whose statistic is exactly zero at a refresh keeps its basis.
"""

from __future__ import annotations

import numpy as np
from reference.optimizers import (
    BlockedRule,
    Optimizer,
    adam_direction,
    ema,
    first_moment,
    right_is_small,
    turn,
)


class SoapRule:
    def __init__(self, shape, weight_decay, hp):
        m, n = shape
        self.weight_decay, self.hp, self.t = weight_decay, hp, 0
        small = hp["sides"] == "small"
        self.has_l = m <= hp["max_dim"] and not (small and right_is_small(shape))
        self.has_r = n <= hp["max_dim"] and not (small and not right_is_small(shape))
        self.m, self.v = np.zeros(shape), np.zeros(shape)
        self.l, self.r = np.zeros((m, m)), np.zeros((n, n))
        self.q_l, self.q_r, self.refreshed = np.eye(m), np.eye(n), False

    def update(self, g, w, step, due):
        self.t += 1
        u = np.zeros(g.shape) if self.t == 1 else self.direction(g) + self.weight_decay * w
        self.l = ema(self.l, g @ g.T, self.hp["shampoo_beta"])
        self.r = ema(self.r, g.T @ g, self.hp["shampoo_beta"])
        first = not self.refreshed
        if turn(self, g, due):
            self.refresh(first)
        return u

    def rotate(self, x):
        return self.q_l.T @ x @ self.q_r

    def direction(self, g):
        hp, terms = self.hp, self.t - 1
        self.m = ema(self.m, g, hp["beta1"])
        self.v = ema(self.v, self.rotate(g) ** 2, hp["beta2"])
        m_hat = self.rotate(first_moment(self.m, g, hp["beta1"], terms, hp["nesterov"]))
        u = adam_direction(m_hat, self.v, hp["beta2"], terms, hp["eps"])
        return self.q_l @ u @ self.q_r.T

    def refresh(self, first):
        if self.has_l and self.l.any():
            if first:
                self.q_l = eigenbasis(self.l)
            else:
                self.q_l, order = power_step(self.l, self.q_l)
                self.v = self.v[order, :]
        if self.has_r and self.r.any():
            if first:
                self.q_r = eigenbasis(self.r)
            else:
                self.q_r, order = power_step(self.r, self.q_r)
                self.v = self.v[:, order]


def eigenbasis(a: np.ndarray) -> np.ndarray:
    """Eigenvectors of a symmetric matrix, the largest eigenvalue first."""
    return np.linalg.eigh(a)[1][:, ::-1]


def power_step(a: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One orthogonal iteration from the sorted columns of q, and the order they were put in."""
    quotients = np.diag(q.T @ a @ q)
    order = np.argsort(-quotients, kind="stable")
    return np.linalg.qr(a @ q[:, order])[0], order


class SOAP(Optimizer):
    """SOAP; embeddings and vectors on NAdamW. shampoo_beta None is beta2."""

    fallback_roles = ("embedding", "vector")

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.95, beta2=0.95, shampoo_beta: float | None = None, eps=1e-8, sides="both",
        block_size: int | None = None, nesterov=False, refresh_every=10, start_step=1,
        max_dim=8192,
    ):  # fmt: skip
        if sides not in ("both", "small"):
            raise ValueError(f"sides {sides!r}")
        self.block_size = block_size
        self.hp = {
            "beta1": beta1, "beta2": beta2, "eps": eps, "sides": sides, "nesterov": nesterov,
            "shampoo_beta": beta2 if shampoo_beta is None else shampoo_beta,
            "max_dim": max_dim,
        }  # fmt: skip
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return BlockedRule(
            shape, self.block_size, lambda block: SoapRule(block, weight_decay, self.hp)
        )
