"""KL-Shampoo: Shampoo's factors by minimising a Kullback-Leibler divergence (arXiv 2509.03378).

The covariance of vec(G) is approximated by a Kronecker product S_R kron S_L. Where Shampoo's sums
G G^T and G^T G minimise no divergence, the product nearest to it in KL(N(0, E vec(G) vec(G)^T) ||
N(0, S_R kron S_L)) satisfies the coupled equations

    S_L = E[G S_R^-1 G^T] / n  (m x m),    S_R = E[G^T S_L^-1 G] / m  (n x n).

Running averages of both, with the inverses of the last refresh, for a matrix or block W (m x n)
with gradient G, at update t:

    S_L <- beta2 S_L + (1 - beta2) (G P_R) (G P_R)^T / n
    S_R <- beta2 S_R + (1 - beta2) (P_L G)^T (P_L G) / m
    P_L <- (S_L / (1 - beta2^t))^(-1/2),  P_R <- (S_R / (1 - beta2^t))^(-1/2)    (at a refresh)
    U_t = P_L Mhat_t P_R

Both statistics use the roots from before this step, identities before the first refresh; then come
roots, then moments. Mhat and the length that U gets, per block, are those of `grafted`. Scalars
move freely between the two factors; their product is what converges. The first statistics have
been whitened by nothing, so that the first roots, together, do so twice: from one gradient
G = X S Y^T comes U = sqrt(m n) X S^-1 Y^T, and the scale of gradients matters until the averages
forget it, after about 1 / (1 - beta2) steps.

Published: the equations, from which come the exponents 1/2 (Shampoo's two 1/4 belong to sums
that each hold the whole scale). This project's own: debiased averages, a ridge relative to the
largest eigenvalue, a refresh every 10 steps from the first, grafting (to Adam by default), blocks.
A side longer than `max_dim` is left out: with P_R = I, S_L is the left factor of ASGO over n.
State: 2 m n + 2 (m^2 + n^2).
"""

import dataclasses
from typing import Any, ClassVar

from matprec import linalg
from matprec.algorithms import grafted
from matprec.algorithms.base import Array, State

OTHER: dict[linalg.Side, linalg.Side] = {"left": "right", "right": "left"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class KLShampoo(grafted.Grafted):
    """Hyperparameters of KL-Shampoo, all of them those of `grafted.Grafted`."""

    beta2: float = 0.99

    source: ClassVar = "arXiv 2509.03378"
    state_size: ClassVar = "2*m*n + 2*(m**2 + n**2)"
    step_flops: ClassVar = "(6 if left and right else 4)*m*n*(left + right) + 10*m*n"

    def init(self, xp: Any, grads: Array) -> State:
        return grafted.init(xp, self, grads, self.orders(grads))

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        sides, statistics = self.fitting_sides(grads), {}
        for side in sides:
            other, white = OTHER[side], grads
            if other in sides:
                white = linalg.multiply(xp, state[f"{other}_root"], grads, other)
            length = grads.shape[-1 if side == "left" else -2]
            white = white * length**-0.5
            statistics[side] = linalg.ema_gram(xp, state[side], white, side, self.beta2)
        return grafted.accumulate(xp, self, state, grads) | statistics

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        return grafted.refresh(xp, self, state, self.fitting_sides(grads), 0.5)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        mean = update = grafted.mean(xp, self, state, grads)
        for side in self.fitting_sides(grads):
            update = linalg.multiply(xp, state[f"{side}_root"], update, side)
        return grafted.per_block(xp, self, state, update, mean), state
