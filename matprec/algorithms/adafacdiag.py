"""AdafacDiag and AdafacDiag++: Adafactor in the singular basis (arXiv 2502.07488, Algorithm 2).

For a matrix W (m x n) with gradient G, rotated on its small side or on both (++), see
`matprec.algorithms.rotated` and, for the averages, `matprec.algorithms.adafactor`:

    at a refresh:  P S Q^T = G_t                          (before the moments)
    G~_t = P^T G_t,  G_t Q,  or P^T G_t Q                 (m x n)
    r_t, s_t: row and column sums of G~_t^2 + eps, averaged;  Vhat_t = r_t s_t^T / sum(r_t)
    M_t: G~_t, averaged
    N_t = M_t / sqrt(Vhat_t),   or G~_t / sqrt(Vhat_t) for beta1 = 0
    U_t = P N_t,  N_t Q^T,  or P N_t Q^T

With P = Q = I this is Adafactor.

In the first step of ++ the rotated gradient is diagonal, diag(s), and N_ii = ||s|| / s_i: as large
as the gradient is ill-conditioned, where all later steps are of order one. `clip`, Adafactor's
bound on the root mean square, is therefore 1 for ++.

Published: the equations, both versions with and without momentum, no clipping, no relative step
size. This project's own: that `clip`; betas, eps = 1e-30 inside the square, a refresh every 200
steps, the sign rule, rounding errors dropped. Without the last, null directions of the gradient
would get updates of full size: eps is far below rounding errors.
State: m n + m + n + d^2, with ++ D^2 more; m n less for beta1 = 0.
"""

import dataclasses
import functools
from typing import ClassVar

from matprec.algorithms.adafactor import Adafactor
from matprec.algorithms.rotated import Rotated


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdafacDiag(Rotated):
    """Hyperparameters of AdafacDiag.

    Attributes:
      beta1: decay of the first moment, in [0, 1); 0 is the version without momentum.
      beta2: decay of the second moment, in [0, 1); 1 sums it up.
      eps: added to the squares of rotated gradients.
      clip: largest root mean square of N; None is no bound.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-30
    clip: float | None = None

    source: ClassVar = "arXiv 2502.07488, Algorithm 2"
    state_size: ClassVar = "m*n + m + n + d**2"
    step_flops: ClassVar = "4*d**2*D + 10*m*n"

    @functools.cached_property
    def inner(self) -> Adafactor:
        return Adafactor(beta1=self.beta1, beta2=self.beta2, eps=self.eps, clip=self.clip)

    @property
    def fallback_momentum(self) -> bool:
        return self.inner.has_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdafacDiagPlusPlus(AdafacDiag):
    """AdafacDiag on both sides, by default with `clip`."""

    clip: float | None = 1.0

    state_size: ClassVar = "m*n + m + n + d**2 + D**2"
    step_flops: ClassVar = "4*m*n*(left + right) + 10*m*n"
    refresh_flops: ClassVar = (
        "4*D**2*d + 8*D*d**2 + 9*d**3 if left and right else 2*d**2*D + 9*d**3"
    )
    two_sided: ClassVar = True
