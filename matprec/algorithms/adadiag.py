"""AdaDiag and AdaDiag++: Adam in the singular basis of the gradient (arXiv 2502.07488).

For a matrix W (m x n) with gradient G, rotated on its small side (AdaDiag) or on both (++), see
`matprec.algorithms.rotated`; P (m x m) for m < n, else Q (n x n), and both for ++:

    at a refresh:  P S Q^T = G_t                          (before the moments)
    G~_t = P^T G_t,  G_t Q,  or P^T G_t Q                 (m x n)
    M_t = beta1 M_{t-1} + (1 - beta1) G~_t,  V_t = beta2 V_{t-1} + (1 - beta2) G~_t^2
    N_t = (M_t / (1 - beta1^t)) / (sqrt(V_t / (1 - beta2^t)) + eps)
    U_t = P N_t,  N_t Q^T,  or P N_t Q^T

With P = Q = I this is Adam. The second moment of the rotated gradient is closer to diagonal than
that of the gradient, which is what Adam's elementwise division takes for granted.

Published: the order of operations, bias correction, moments that a refresh does not rotate, Adam
for embeddings, heads and vectors. Not legible in the sources and therefore this project's own: the
betas and eps (Adam's), a refresh every 200 steps (GaLore's gap for language models; a middle range
is said to be best). Also its own: the sign rule; the small side is the right one when m = n;
`rotate_first_moment`, off by default, which re-expresses the first moment in every new basis,

    M <- (P_new^T P_old) M,   M (Q_old^T Q_new),   or both,

and makes AdaDiag++ equivariant to rotations of both sides through refreshes; `nesterov`; rounding
errors are dropped. Each refresh of ++ costs a full n x n basis of the large side.
State: 2 m n + d^2, with ++ 2 m n + d^2 + D^2; m n less for beta1 = 0.
"""

import dataclasses
import functools
from typing import Any, ClassVar

from matprec.algorithms.base import Array, State
from matprec.algorithms.nadamw import NAdamW
from matprec.algorithms.rotated import Rotated


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaDiag(Rotated):
    """Hyperparameters of AdaDiag.

    Attributes:
      beta1: decay of the first moment, in [0, 1).
      beta2: decay of the second moment, in [0, 1); 1 sums it up.
      eps: added to the root of the second moment. AdaDiag++ needs one above 0: its first rotated
        gradient is diagonal, and the rest of the first step would be 0 / 0.
      nesterov: NAdam's mixing of the first moment (AlgoPerf's form).
      rotate_first_moment: whether a refresh re-expresses the first moment in the new basis.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    nesterov: bool = False
    rotate_first_moment: bool = False

    source: ClassVar = "arXiv 2502.07488"
    state_size: ClassVar = "2*m*n + d**2"
    step_flops: ClassVar = "4*d**2*D + 10*m*n"

    @functools.cached_property
    def inner(self) -> NAdamW:
        return NAdamW(beta1=self.beta1, beta2=self.beta2, eps=self.eps, nesterov=self.nesterov)

    def refreshed_keys(self, state: State) -> tuple[str, ...]:
        turned = self.rotate_first_moment and "mean" in state
        return super().refreshed_keys(state) + (("mean",) if turned else ())

    def carried_over(self, xp: Any, state: State, new: State) -> State:
        if "mean" not in self.refreshed_keys(state):
            return {}
        mean: Array = state["mean"]
        if "left_basis" in new:
            turn = xp.matmul(xp.matrix_transpose(new["left_basis"]), state["left_basis"])
            mean = xp.matmul(turn, mean)
        if "right_basis" in new:
            turn = xp.matmul(xp.matrix_transpose(state["right_basis"]), new["right_basis"])
            mean = xp.matmul(mean, turn)
        return {"mean": mean}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaDiagPlusPlus(AdaDiag):
    """AdaDiag on both sides."""

    state_size: ClassVar = "2*m*n + d**2 + D**2"
    step_flops: ClassVar = "4*m*n*(left + right) + 10*m*n"
    refresh_flops: ClassVar = (
        "4*D**2*d + 8*D*d**2 + 9*d**3 if left and right else 2*d**2*D + 9*d**3"
    )
    two_sided: ClassVar = True
