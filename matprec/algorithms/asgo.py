"""ASGO: adaptive structured gradient optimization, one-sided (arXiv 2503.20762).

For a matrix W (m x n) with gradient G, d = min(m, n), on the right side (m >= n):

    V_t = beta2 V_{t-1} + (1 - beta2) G_t^T G_t          (n x n; G G^T, m x m, on the left)
    M_t = beta1 M_{t-1} + (1 - beta1) G_t                (m x n, no bias correction)
    U_t = M_t V_t^{-1/2}                                 (V_t^{-1/2} M_t on the left)
    U_t <- 0.2 sqrt(m n) U_t / ||U_t||                   (RMS alignment)

V uses the current gradient before it is applied; the preconditioner acts on the momentum. This is
the practical version (Algorithm 2 and the authors' code). Because of the last line any scalar
bias correction of M or V cancels.

Published: the equations, beta1 = 0.9, beta2 = 0.8, RMS 0.2, the smaller side, the right one when
m = n, Adam for embeddings, tied heads and vectors. This project's own: rows are outputs in both
frameworks, so that ties mean the input side in both; a ridge inside the root relative to the
largest eigenvalue (the code has in effect none); `refresh_every = 10` with an eigendecomposition
(the code: every step by Polar Express); all output heads on the fallback. State: m n + 2 d^2.
"""

import dataclasses
from typing import Any, ClassVar, Literal

from matprec import linalg, transfer
from matprec.algorithms.base import Array, MatrixAlgorithm, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class ASGO(MatrixAlgorithm):
    """Hyperparameters of ASGO.

    Attributes:
      beta1: decay of the momentum, in [0, 1).
      beta2: decay of the statistics, in [0, 1); 1 sums them up.
      eps: ridge of the root, relative to the largest eigenvalue.
      side: which side is preconditioned; `small` is the shorter one, the right one when equal.
      rms: root mean square of the update.
    """

    beta1: float = 0.9
    beta2: float = 0.8
    eps: float = 1e-6
    side: Literal["small", "left", "right"] = "small"
    rms: float = 0.2
    precondition_head: bool = False

    refresh_at: ClassVar = "after"
    refreshed: ClassVar = ("root",)

    def _side(self, grads: Array) -> linalg.Side:
        if self.side != "small":
            return self.side
        rows, columns = grads.shape[-2:]
        return "left" if rows < columns else "right"

    def init(self, xp: Any, grads: Array) -> State:
        order = grads.shape[-2 if self._side(grads) == "left" else -1]
        identity = linalg.identity_like(xp, grads, order)
        return {
            "momentum": xp.zeros_like(grads),
            "statistics": xp.zeros_like(identity),
            "root": identity,
        }

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        gram = linalg.gram(xp, grads, self._side(grads))
        return state | {
            "momentum": linalg.ema(xp, state["momentum"], grads, self.beta1),
            "statistics": linalg.ema(xp, state["statistics"], gram, self.beta2),
        }

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        root, ok = linalg.inverse_root(xp, state["statistics"], 0.5, eps=self.eps)
        return linalg.accept(xp, state, {"root": root}, ok)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        update = linalg.multiply(xp, state["root"], state["momentum"], self._side(grads))
        return transfer.align_rms(xp, update, self.rms), state
