"""Shampoo on matrices (arXiv 1802.09568), with the knobs of Distributed Shampoo (2309.06497).

For a matrix or block W (m x n) with gradient G, at update t:

    L_t = beta2 L_{t-1} + (1 - beta2) G_t G_t^T          (m x m)
    R_t = beta2 R_{t-1} + (1 - beta2) G_t^T G_t          (n x n)
    U_t = Lhat^-exponent Mhat Rhat^-exponent,            Lhat = L_t / (1 - beta2^t), Rhat likewise
    U_t <- U_t ||D_t|| / ||U_t||                         (grafting, per block)

with the mean Mhat and the grafted direction D (NAdam's, Adam's or Mhat itself) of `grafted`; and,
with momentum mu > 0, the decay term enters before a Nesterov heavy ball in EMA form:
U <- U + lambda W;  B <- mu B + (1 - mu) U;  U <- (1 - mu) U + mu B.
Statistics come before roots, roots before the direction, so roots see the current gradient.

Published: everything above, exponent 1/4 (1/(2k) for k = 2; the AlgoPerf winner's fourth setting
overrides the root to 2, that is exponent 1/2), blocks of at most 1024, Adam or SGD grafting,
refreshes at start_step, start_step + refresh_every, ... (the winner: 100, 200, ...), the grafted
method alone before the first. This project's own: tensors are seen as matrices, vectors go to the
fallback; a ridge relative to the largest eigenvalue (`eps_mode="absolute"` with eps 1e-8 is the
winner's); refreshes every 10 steps from the first; until a block's first root is accepted it takes
the grafted direction; a side longer than max_dim is left out, and exponent 1/(2k) counts the sides
that remain (1/2 for one).

`merge="meta"` is the winner's treatment of shapes instead (right, not fast): sides of length 1 are
dropped, neighbouring ones merged from left to right while their product is at most block_size, and
blocks of any order k have k factors, U = Mhat x_1 H_1^-1/(2k) ... x_k H_k^-1/(2k). A vector then
has a full matrix with exponent 1/2; only tensors with a side of a million go to the fallback, and
weight decay is on every tensor. Outputs come first in both frameworks.
State: m n less than stated without Adam grafting, m n more with momentum.
"""

import dataclasses
from typing import Any, ClassVar, Literal

from matprec import linalg, roots
from matprec.algorithms import grafted
from matprec.algorithms.base import Array, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shampoo(grafted.Grafted):
    """Hyperparameters of Shampoo, besides those of `grafted.Grafted`.

    Attributes:
      exponent: of every inverse root; None is 1/(2k), k the number of preconditioned sides.
      merge: `matrix`: tensors are seen as matrices. `meta`: as the winner has it, see above.
      momentum: of the heavy ball over the decayed update, in [0, 1); 0 is off.
    """

    beta2: float = 0.99
    exponent: float | None = None
    momentum: float = 0.0
    merge: Literal["matrix", "meta"] = "matrix"

    source: ClassVar = "arXiv 1802.09568, 2309.06497 (Distributed Shampoo)"
    state_size: ClassVar = "2*m*n + 2*(m**2 + n**2)"
    step_flops: ClassVar = "4*m*n*(left + right) + 10*m*n"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exponent is not None:
            owner = type(self).__name__
            roots.check_root_method(owner, self.root_method, self.exponent, self.eps_mode)

    @property
    def merges_dims(self) -> bool:
        return self.merge == "meta"

    @property
    def decay_inside(self) -> bool:
        return not linalg.is_zero(self.momentum)

    def _axes(self, grads: Array) -> dict[str, int]:
        """Names and numbers, 1 to k, of the preconditioned axes of (B, d1, ..., dk)."""
        order = grads.ndim - 1
        names = ("left", "right") if order == 2 else [f"axis{i}" for i in range(order)]
        axes = {name: axis for axis, name in enumerate(names, 1)}
        return {name: axis for name, axis in axes.items() if grads.shape[axis] <= self.max_dim}

    def init(self, xp: Any, grads: Array) -> State:
        orders = {name: grads.shape[axis] for name, axis in self._axes(grads).items()}
        state = grafted.init(xp, self, grads, orders)
        return state | {"heavy_ball": xp.zeros_like(grads)} if self.decay_inside else state

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        new = grafted.accumulate(xp, self, state, grads)
        for name, axis in self._axes(grads).items():
            new[name] = linalg.ema_mode_gram(xp, state[name], grads, axis, self.beta2)
        return new

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        names = self._axes(grads)
        exponent = 1 / (2 * len(names)) if self.exponent is None else self.exponent
        return grafted.refresh(xp, self, state, names, exponent)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        mean = update = grafted.mean(xp, self, state, grads)
        for name, axis in self._axes(grads).items():
            update = linalg.mode_product(xp, state[f"{name}_root"], update, axis)
        update = grafted.per_block(xp, self, state, update, mean)
        if not self.decay_inside:
            return update, state
        if decay is not None:
            update = update + decay
        ball = linalg.ema(xp, state["heavy_ball"], update, self.momentum)
        update = (1 - self.momentum) * update + self.momentum * ball
        return update, state | {"heavy_ball": ball}
