"""CASPR: combining axes preconditioners by a Kronecker sum (ICLR 2024, OpenReview 8j9hz8DVi8).

For a matrix or block W (m x n) with gradient G, at update t, and an integer p >= 1:

    L_t = beta2 L_{t-1} + (1 - beta2) G_t G_t^T          (m x m), Lhat = L_t / (1 - beta2^t)
    R_t = beta2 R_{t-1} + (1 - beta2) G_t^T G_t          (n x n), Rhat likewise
    A X = (Lhat^(-1/(2p)) X + X Rhat^(-1/(2p))) / 2      (m x n -> m x n)
    U_t = A^p Mhat_t                                     (A applied p times)

Statistics, then roots, then moments, so that roots see the current gradient. Mhat and the length
that U gets are those of `grafted`: NAdam's, per tensor (Frobenius norm over all its blocks).

On vec(W), A is half a Kronecker sum: A^p = ((I kron L^(-1/(2p)) + R^(-1/(2p)) kron I) / 2)^p. With
p = 1 that is the mean of the left and the right one-sided method (ASGO without its alignment);
p = 2, (L^(-1/2) M + 2 L^(-1/4) M R^(-1/4) + M R^(-1/2)) / 4, is what is usually meant; in the limit
p -> infinity the power mean becomes a geometric one and U that of Shampoo, L^(-1/4) M R^(-1/4). The
preconditioners' inverses C(p) satisfy H^(1/2) <= C(1) <= C(2) <= ... <= C(infinity) as matrices,
for sums with eps I and H = eps I + sum vec(G) vec(G)^T / r, r the largest rank of a gradient: CASPR
is closer to full-matrix AdaGrad than Shampoo is.

Published: the operator, sums in theory and averages in practice, decays shared with Adam, blocks,
a ridge relative to the mean eigenvalue, NAdam's mixing and its length for whole tensors (one old
version: the l4 norm). The authors' code starts L and R from eps I and does not debias, leaves out
the factors 1/2 (the length is replaced anyway), refreshes every 20 steps and takes NAdam's update
in the first 101. This project's own: statistics from zero, debiased; factors 1/2; a refresh every
10 steps from the first. A side longer than `max_dim` is left out, and the other gets exponent 1/2.
State: 2 m n + 2 (m^2 + n^2).
"""

import dataclasses
from typing import Any, ClassVar

from matprec import linalg, roots, transfer
from matprec.algorithms import grafted
from matprec.algorithms.base import Array, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class CASPR(grafted.Grafted):
    """Hyperparameters of CASPR, besides those of `grafted.Grafted`.

    Attributes:
      p: power of the Kronecker sum, an integer of at least 1.
    """

    p: int = 2
    eps_mode: roots.EpsMode = "relative_mean"

    source: ClassVar = "OpenReview 8j9hz8DVi8 (ICLR 2024)"
    state_size: ClassVar = "2*m*n + 2*(m**2 + n**2)"
    step_flops: ClassVar = "2*m*n*(left + right)*(1 + (p if left and right else 1)) + 10*m*n"

    def __post_init__(self) -> None:
        super().__post_init__()
        exponent = 1 / (2 * self.p)
        roots.check_root_method(type(self).__name__, self.root_method, exponent, self.eps_mode)

    def _power(self, grads: Array) -> int:
        """How often A is applied; with one side left out A is that of the other, at once."""
        return self.p if len(self.fitting_sides(grads)) == 2 else 1

    def init(self, xp: Any, grads: Array) -> State:
        return grafted.init(xp, self, grads, self.orders(grads))

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        statistics = {
            side: linalg.ema_gram(xp, state[side], grads, side, self.beta2)
            for side in self.fitting_sides(grads)
        }
        return grafted.accumulate(xp, self, state, grads) | statistics

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        exponent = 1 / (2 * self._power(grads))
        return grafted.refresh(xp, self, state, self.fitting_sides(grads), exponent)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array | transfer.Graft, State]:
        sides = self.fitting_sides(grads)
        mean = update = grafted.mean(xp, self, state, grads)
        for _ in range(self._power(grads)):
            parts = [linalg.multiply(xp, state[f"{side}_root"], update, side) for side in sides]
            update = sum(parts) / len(sides)
        return grafted.per_tensor(xp, self, state, update, mean), state
