"""GaLore: Adam on the gradient's leading singular directions (arXiv 2403.03507).

For a matrix W (m x n) with gradient G and k = min(rank, d), with m < n (else on the right side,
G_t Q with Q (n x k)):

    at a refresh:  P (m x k) = first k left singular vectors of G_t   (before the moments)
    R_t = P^T G_t                                                     (k x n)
    M_t = beta1 M_{t-1} + (1 - beta1) R_t,  V_t = beta2 V_{t-1} + (1 - beta2) R_t^2
    N_t = (M_t / (1 - beta1^t)) / (sqrt(V_t / (1 - beta2^t)) + eps)
    U_t = scale P N_t

With rank = d and scale = 1 this is AdaDiag (`matprec.algorithms.rotated`).

Published: the equations, the small side, the right one when m = n (the code), projections from the
current gradient, moments neither rotated nor reset by a refresh, every 200 steps, scale 0.25, rank
128 for LLaMA 60M, AdamW for everything outside attention and MLP blocks. This project's own: the
sign rule of `matprec.bases` (the code takes what the library returns); eps on debiased moments (the
code folds bias correction into the step size); before the first refresh P is the first k columns of
the identity; all output heads on the fallback. State: d k + 2 D k.
"""

import dataclasses
import functools
from typing import Any, ClassVar

from matprec.algorithms.base import Array, State
from matprec.algorithms.nadamw import NAdamW
from matprec.algorithms.rotated import Rotated


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaLore(Rotated):
    """Hyperparameters of GaLore.

    Attributes:
      rank: how many singular directions are kept; more than there are means all.
      scale: factor on the direction, not on the weight decay.
      beta1: decay of the first moment, in [0, 1).
      beta2: decay of the second moment, in [0, 1); 1 sums it up.
      eps: added to the root of the second moment.
    """

    rank: int = 128
    scale: float = 0.25
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    source: ClassVar = "arXiv 2403.03507"
    state_size: ClassVar = "min(r, d)*(d + 2*D)"
    step_flops: ClassVar = "4*min(r, d)*d*D + 10*min(r, d)*D"

    @functools.cached_property
    def inner(self) -> NAdamW:
        return NAdamW(beta1=self.beta1, beta2=self.beta2, eps=self.eps, nesterov=False)

    def kept(self, order: int) -> int:
        return min(self.rank, order)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        update, state = super().direction(xp, state, grads, decay)
        return self.scale * update, state
