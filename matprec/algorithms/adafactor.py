"""Adafactor as the AdaDiag and H-Fac papers use it (arXiv 2502.07488, 2406.09958).

For a matrix W (m x n) with gradient G; r in R^m, s in R^n, b_t the time-corrected decays of
`matprec.factored`, for which these averages have no bias:

    r_t = b2_t r_{t-1} + (1 - b2_t) (G_t^2 + eps) 1       (row sums)
    s_t = b2_t s_{t-1} + (1 - b2_t) (G_t^2 + eps)^T 1     (column sums)
    Vhat_t = r_t s_t^T / sum(r_t)                         (exact where G^2 has rank one)
    M_t = b1_t M_{t-1} + (1 - b1_t) G_t                   (m x n)
    U_t = M_t / sqrt(Vhat_t),   or G_t / sqrt(Vhat_t) for beta1 = 0

Adafactor's inventors (1804.04235) let beta2 grow as 1 - t^-0.8, clip updates, scale steps by the
parameter's size and average the normalised update; nothing of that is here. What this shares with
theirs is Vhat.

Published: the equations, one full moment for what is not a matrix and a first moment only if
matrices have one (from the papers' memory tables). This project's own: beta1, beta2 as Adam's; eps
1e-30 inside the square; beta2 = 1 sums up; `clip`, off by default.
State: m n + m + n, or m + n for beta1 = 0.
"""

import dataclasses
from typing import Any, ClassVar

from matprec import factored, linalg
from matprec.algorithms.base import Array, MatrixAlgorithm, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adafactor(MatrixAlgorithm):
    """Hyperparameters of Adafactor.

    Attributes:
      beta1: decay of the first moment, in [0, 1); 0 is the version without momentum.
      beta2: decay of the second moment, in [0, 1); 1 sums it up.
      eps: added to the squares of gradients.
      clip: largest root mean square of the direction; None is no bound.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-30
    clip: float | None = None
    precondition_head: bool = False

    source: ClassVar = "arXiv 2502.07488 (after 1804.04235)"
    state_size: ClassVar = "m*n + m + n"
    step_flops: ClassVar = "10*m*n"

    @property
    def has_mean(self) -> bool:
        return not linalg.is_zero(self.beta1)

    @property
    def fallback_momentum(self) -> bool:
        return self.has_mean

    def init(self, xp: Any, grads: Array) -> State:
        state = {
            "rows": xp.zeros_like(grads[:, :, :1]),
            "columns": xp.zeros_like(grads[:, :1, :]),
        }
        return state | {"mean": xp.zeros_like(grads)} if self.has_mean else state

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        new = factored.average_sums(xp, state, grads, self.eps, self.beta2)
        if self.has_mean:
            new["mean"] = factored.average(xp, state["mean"], grads, self.beta1, state["t"])
        return state | new

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        mean = state["mean"] if self.has_mean else grads
        update = factored.normalise(xp, mean, state["rows"], state["columns"])
        return factored.clipped(xp, update, self.clip), state
