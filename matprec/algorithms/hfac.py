"""H-Fac and HFacDiag: both moments factored (arXiv 2406.09958; 2502.07488, Algorithm 3).

For a matrix W (m x n) with gradient G; u, r in R^m, v, s in R^n, b_t the time-corrected decays of
`matprec.factored`:

    gbar = G_t 1 / n,  hbar = G_t^T 1 / m                 (row and column means)
    u_t = b1_t u_{t-1} + (1 - b1_t) gbar,   v_t = b1_t v_{t-1} + (1 - b1_t) hbar
    r_t, s_t: row and column sums of G_t^2 + eps, averaged with b2_t
    phi = b1_t (u_t - gbar) 1^T / sqrt(r_t 1^T / n)
    psi = b1_t 1 (v_t - hbar)^T / sqrt(1 s_t^T / m)
    U_t = (phi + psi) / 2 + clip(G_t / sqrt(r_t s_t^T / sum(r_t)))
    clip(X) = X / max(1, RMS(X) / c)

b1_t u_t + (1 - b1_t) gbar - gbar = b1_t (u_t - gbar): phi and psi replace the current row and
column means by their momenta with Nesterov's mixing; the rest of the gradient has none and is
Adafactor's. b1_1 = 0, so the first step is Adafactor without momentum.

HFacDiag runs the same on the gradient rotated into the singular basis of its small side, see
`matprec.algorithms.rotated`; with P = I it is H-Fac.

Published: the equations, known to this project from a transcription that leaves open whether phi
has u_t or u_{t-1}; full Adam for what is not a matrix. This project's own: u_t, as the reading
above wants; beta1, beta2 as Adam's; eps 1e-30; the threshold c = 1 for H-Fac and none for HFacDiag,
whose paper does not mention it; RMS per matrix. Experimental, for these reasons.
State: 2 (m + n), HFacDiag d^2 more; m + n less for beta1 = 0.
"""

import dataclasses
import functools
from typing import Any, ClassVar

from matprec import factored, linalg
from matprec.algorithms.base import Array, MatrixAlgorithm, State
from matprec.algorithms.rotated import Rotated

MEANS = {"row_mean": -1, "column_mean": -2}  # u and v, and the axes that they are means over


@dataclasses.dataclass(frozen=True, kw_only=True)
class HFac(MatrixAlgorithm):
    """Hyperparameters of H-Fac.

    Attributes:
      beta1: decay of the factored first moment, in [0, 1); 0 is without.
      beta2: decay of the factored second moment, in [0, 1); 1 sums it up.
      eps: added to the squares of gradients.
      clip: largest root mean square of the part without momentum; None is no bound.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-30
    clip: float | None = 1.0
    precondition_head: bool = False

    source: ClassVar = "arXiv 2406.09958"
    state_size: ClassVar = "2*(m + n)"
    step_flops: ClassVar = "10*m*n"

    @property
    def has_mean(self) -> bool:
        return not linalg.is_zero(self.beta1)

    def init(self, xp: Any, grads: Array) -> State:
        rows, columns = xp.zeros_like(grads[:, :, :1]), xp.zeros_like(grads[:, :1, :])
        state = {"rows": rows, "columns": columns}
        if self.has_mean:
            state |= {"row_mean": xp.zeros_like(rows), "column_mean": xp.zeros_like(columns)}
        return state

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        new = factored.average_sums(xp, state, grads, self.eps, self.beta2)
        if self.has_mean:
            for key, axis in MEANS.items():
                mean = xp.mean(grads, axis=axis, keepdims=True)
                new[key] = factored.average(xp, state[key], mean, self.beta1, state["t"])
        return state | new

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        rows, columns = state["rows"], state["columns"]
        update = factored.normalise(xp, grads, rows, columns)
        update = factored.clipped(xp, update, self.clip)
        if not self.has_mean:
            return update, state
        now = factored.corrected_decay(xp, self.beta1, state["t"])
        half = linalg.per_matrix(xp, 0.5 * now, update)
        for (key, axis), sums in zip(MEANS.items(), (rows, columns), strict=True):
            bracket = state[key] - xp.mean(grads, axis=axis, keepdims=True)
            rms = xp.sqrt(sums / grads.shape[axis])
            update = update + half * linalg.divide_or_zero(xp, bracket, rms)
        return update, state


@dataclasses.dataclass(frozen=True, kw_only=True)
class HFacDiag(Rotated):
    """Hyperparameters of HFacDiag, see `HFac`."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-30
    clip: float | None = None

    source: ClassVar = "arXiv 2502.07488, Algorithm 3"
    state_size: ClassVar = "2*(m + n) + d**2"
    step_flops: ClassVar = "4*d**2*D + 10*m*n"

    @functools.cached_property
    def inner(self) -> HFac:
        return HFac(beta1=self.beta1, beta2=self.beta2, eps=self.eps, clip=self.clip)
