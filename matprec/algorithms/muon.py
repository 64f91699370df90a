"""Muon: momentum, orthogonalised by Newton-Schulz steps (Jordan et al. 2024).

For a matrix W (m x n) with gradient G:

    M_t = mu M_{t-1} + (1 - mu) G_t                      (m x n, no bias correction)
    G'_t = mu M_t + (1 - mu) G_t                         (nesterov; else M_t)
    U_t = scale * NS(G'_t)                               (roughly its polar factor)

where NS divides G' by its Frobenius norm and takes `ns_steps` quintic steps on the smaller side,
X <- a X + (b X X^T + c (X X^T)^2) X with (a, b, c) = (3.4445, -4.7750, 2.0315), which keep the
singular vectors and bring the singular values near 1, to roughly 0.7 to 1.2. The scale is

    sqrt(max(1, m / n))          (original)
    0.2 sqrt(max(m, n))          (match_rms_adamw: the update's RMS is about 0.2, as Adam's is)

Any bias of M cancels. It is the limit of ASGO, Shampoo and CASPR without accumulation and eps, but
for the momentum, which here goes into the root as well.

Published: all equations; momentum 0.95 with Nesterov, 5 steps, `original` by Jordan et al.
(kellerjordan.github.io/posts/muon), `match_rms_adamw` by Moonlight (arXiv 2502.16982); embeddings,
heads and vectors on AdamW. This project's own: `match_rms_adamw` by default, so that learning rates
compare with the other optimizers'; the state's precision in the iteration (the codes: bfloat16);
nothing added to the norm, zero stays zero. State: m n.
"""

import dataclasses
from typing import Any, ClassVar, Literal

from matprec import linalg, polar
from matprec.algorithms.base import Array, MatrixAlgorithm, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class Muon(MatrixAlgorithm):
    """Hyperparameters of Muon. It has no roots to refresh.

    Attributes:
      momentum: decay of the averaged gradient, in [0, 1); exactly 0 keeps none.
      nesterov: mix the average with the gradient once more.
      ns_steps: number of Newton-Schulz steps.
      adjust_lr: the scale of the update, see above.
    """

    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5
    adjust_lr: Literal["original", "match_rms_adamw"] = "match_rms_adamw"
    precondition_head: bool = False

    source: ClassVar = "kellerjordan.github.io/posts/muon, arXiv 2502.16982 (scale)"
    state_size: ClassVar = "m*n"
    step_flops: ClassVar = "ns_steps*(4*d**2*D + 2*d**3)"

    def init(self, xp: Any, grads: Array) -> State:
        absent = linalg.is_zero(self.momentum)
        return {} if absent else {"momentum": xp.zeros_like(grads)}

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        if "momentum" not in state:
            return state
        return state | {"momentum": linalg.ema(xp, state["momentum"], grads, self.momentum)}

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        average = state.get("momentum", grads)
        if self.nesterov:
            average = linalg.blend(xp, average, grads, self.momentum)
        rows, columns = grads.shape[-2:]
        scale = 0.2 * max(rows, columns) ** 0.5
        if self.adjust_lr == "original":
            scale = max(1.0, rows / columns) ** 0.5
        return scale * polar.polar_newton_schulz(xp, average, self.ns_steps), state
