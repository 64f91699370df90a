"""Plain NumPy float64 references of CASPR, CASPR Adaptive and KL-Shampoo.

Written from the equations, one block at a time. L, R are the left and right statistics of an m x n
block, P_L, P_R the cached roots (identity at first), Mhat the debiased, NAdam-mixed first moment.

* CASPR: L, R averages of G G^T and G^T G from zero, debiased; P = (. + ridge)^(-1/(2p));
  U = A^p Mhat with A X = (P_L X + X P_R) / 2; the length comes from the graft, per tensor.
* CASPR Adaptive: L <- ema(L, G G^T) from 1e-6 I, R <- ema(c R, (P_L G)^T (P_L G) / m) from I,
  neither debiased; P = (. + ridge)^(-1/2); U = P_L Mhat P_R with NAdam's length, per tensor.
* KL-Shampoo: L <- ema(L, (G P_R)(G P_R)^T / n), R <- ema(R, (P_L G)^T (P_L G) / m) from zero,
  debiased, P = (. + ridge)^(-1/2); U = P_L Mhat P_R; the length comes from the graft, per block.

A step is: statistics (with the roots of the last refresh), roots when due, moments, direction.
A block that has had no refresh of its own yet has the graft's own direction in place of U, before
the whole is brought to its length.
"""

from __future__ import annotations

import numpy as np
from reference.optimizers import (
    BlockedRule,
    Optimizer,
    adam_direction,
    blocks_of,
    debias,
    ema,
    first_moment,
    inverse_root,
    scaled_to,
    turn,
)

LEFT_START = 1e-6  # CASPR Adaptive's L before any gradient, times the identity


class Block:
    """Statistics and roots of one block, two-sided but for sides longer than max_dim."""

    def __init__(self, shape, hp):
        self.hp = hp
        self.m, self.n = shape
        self.has_l, self.has_r = self.m <= hp["max_dim"], self.n <= hp["max_dim"]
        self.l, self.r = np.zeros((self.m, self.m)), np.zeros((self.n, self.n))
        self.root_l, self.root_r = np.eye(self.m), np.eye(self.n)
        self.refreshed = False

    def accumulate(self, g):
        self.l = ema(self.l, g @ g.T, self.hp["beta2"])
        self.r = ema(self.r, g.T @ g, self.hp["beta2"])

    def root(self, a, exponent):
        return inverse_root(a, exponent, self.hp["eps"], self.hp["eps_mode"])

    def refresh(self, t):
        """New roots after t gradients; the root of a side left out stays the identity."""
        if self.has_l:
            self.root_l = self.root(debias(self.l, self.hp["beta2"], t), 1 / 2)
        if self.has_r:
            self.root_r = self.root(debias(self.r, self.hp["beta2"], t), 1 / 2)

    def precondition(self, x):
        return self.root_l @ x @ self.root_r


class CasprBlock(Block):
    def refresh(self, t):
        if not (self.has_l and self.has_r):
            super().refresh(t)  # one side does it all, with exponent 1/2
            return
        exponent = 1 / (2 * self.hp["p"])
        self.root_l = self.root(debias(self.l, self.hp["beta2"], t), exponent)
        self.root_r = self.root(debias(self.r, self.hp["beta2"], t), exponent)

    def precondition(self, x):
        if not (self.has_l and self.has_r):
            return super().precondition(x)
        for _ in range(self.hp["p"]):
            x = (self.root_l @ x + x @ self.root_r) / 2
        return x


class CasprAdaptiveBlock(Block):
    """R's history was gathered with the P_L of its time: c carries it over to a new P_L.

    In the step after a refresh c = max(0, tr(P_L L' P_L) / m), P_L being the new root and L' the
    left statistic of the refresh before that one (at first its initial value). Otherwise c = 1.
    """

    def __init__(self, shape, hp):
        super().__init__(shape, hp)
        self.l, self.r = LEFT_START * np.eye(self.m), np.eye(self.n)
        self.l_before, self.c = self.l, 1.0

    def accumulate(self, g):
        self.l = ema(self.l, g @ g.T, self.hp["beta2"])
        white = self.root_l @ g
        self.r = ema(self.c * self.r, white.T @ white / self.m, self.hp["beta2"])
        self.c = 1.0

    def refresh(self, t):
        if self.has_l:
            self.root_l = self.root(self.l, 1 / 2)
            self.c = max(0.0, np.trace(self.root_l @ self.l_before @ self.root_l) / self.m)
            self.l_before = self.l
        if self.has_r:
            self.root_r = self.root(self.r, 1 / 2)


class KLShampooBlock(Block):
    def accumulate(self, g):
        right, left = g @ self.root_r, self.root_l @ g
        self.l = ema(self.l, right @ right.T / self.n, self.hp["beta2"])
        self.r = ema(self.r, left.T @ left / self.m, self.hp["beta2"])


class GraftedRule:
    """Moments, grafting and decay of one matrix, its blocks being preconditioned one by one."""

    def __init__(self, shape, weight_decay, block_size, hp, make_block):
        self.weight_decay, self.hp, self.t = weight_decay, hp, 0
        self.m, self.v = np.zeros(shape), np.zeros(shape)
        self.blocks = [
            (index, make_block(block_shape, hp))
            for index, block_shape in blocks_of(shape, block_size)
        ]

    def update(self, g, w, step, due):
        hp = self.hp
        self.t += 1
        for index, block in self.blocks:
            block.accumulate(g[index])
            if turn(block, g[index], due):
                block.refresh(self.t)

        self.m = ema(self.m, g, hp["beta1"])
        self.v = ema(self.v, g**2, hp["beta2"])
        m_hat = first_moment(self.m, g, hp["beta1"], self.t, hp["nesterov"])
        u = m_hat.copy()
        if hp["graft"] == "adam":
            u = adam_direction(m_hat, self.v, hp["beta2"], self.t, hp["graft_eps"])
        length = float(np.linalg.norm(u))
        for index, block in self.blocks:
            if block.refreshed:
                u[index] = block.precondition(m_hat[index])
        if hp["graft"] != "none":
            u = scaled_to(u, length)
        return u + self.weight_decay * w


class TwoSided(Optimizer):
    """Embeddings and vectors on NAdamW, lengths transferred over the whole tensor."""

    fallback_roles = ("embedding", "vector")
    block: type[Block]
    block_size: int | None
    hp: dict

    def matrix_rule(self, shape, weight_decay):
        return GraftedRule(shape, weight_decay, self.block_size, self.hp, self.block)


def check_graft(graft):
    if graft not in ("adam", "sgd", "none"):
        raise ValueError(f"graft {graft!r}")


class CASPR(TwoSided):
    """CASPR of order p (ICLR 2024, OpenReview 8j9hz8DVi8)."""

    block = CasprBlock

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        p=2, beta1=0.9, beta2=0.999, eps=1e-6, eps_mode="relative_mean",
        block_size: int | None = 1024, graft="adam", graft_eps=1e-8, nesterov=True,
        refresh_every=10, start_step=1, max_dim=8192,
    ):  # fmt: skip
        check_graft(graft)
        if not isinstance(p, int) or p < 1:
            raise ValueError(f"p {p!r}")
        self.block_size = block_size
        self.hp = {
            "p": p, "beta1": beta1, "beta2": beta2, "eps": eps, "eps_mode": eps_mode,
            "graft": graft, "graft_eps": graft_eps, "nesterov": nesterov, "max_dim": max_dim,
        }  # fmt: skip
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )


class CASPRAdaptive(TwoSided):
    """The AlgoPerf submission "CASPR Adaptive": not the CASPR of the paper."""

    block = CasprAdaptiveBlock

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.999, eps=1e-6, eps_mode="relative_max",
        block_size: int | None = 1024, graft_eps=1e-8, nesterov=True,
        refresh_every=20, start_step=1, max_dim=8192,
    ):  # fmt: skip
        self.block_size = block_size
        self.hp = {
            "beta1": beta1, "beta2": beta2, "eps": eps, "eps_mode": eps_mode,
            "graft": "adam", "graft_eps": graft_eps, "nesterov": nesterov, "max_dim": max_dim,
        }  # fmt: skip
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )


class KLShampoo(TwoSided):
    """KL-Shampoo (arXiv 2509.03378), grafted block by block."""

    block = KLShampooBlock

    def __init__(
        self, shapes, roles=None, weight_layout="out_in", lr=1e-3, weight_decay=0.0,
        beta1=0.9, beta2=0.99, eps=1e-6, eps_mode="relative_max",
        block_size: int | None = 1024, graft="adam", graft_eps=1e-8, nesterov=True,
        refresh_every=10, start_step=1, max_dim=8192,
    ):  # fmt: skip
        check_graft(graft)
        self.block_size = block_size
        self.hp = {
            "beta1": beta1, "beta2": beta2, "eps": eps, "eps_mode": eps_mode,
            "graft": graft, "graft_eps": graft_eps, "nesterov": nesterov, "max_dim": max_dim,
        }  # fmt: skip
        super().__init__(
            shapes, roles, weight_layout, lr, weight_decay, refresh_every, start_step, max_dim
        )

    def matrix_rule(self, shape, weight_decay):
        return BlockedRule(
            shape,
            self.block_size,
            lambda block: GraftedRule(block, weight_decay, None, self.hp, self.block),
        )
