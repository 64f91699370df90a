"""AlgoPerf's board entry "CASPR Adaptive" (v0.5, external tuning): NOT the CASPR of the paper.

The paper's Kronecker sum is `caspr`. The submission of this name, whose logs the board shows, is a
two-sided whitening with a coupled right factor, a relative of one-directional KL-Shampoo; nothing
measured with it says anything about CASPR. No paper describes it: the equations are those of the
submission's code. For a matrix or block W (m x n) with gradient G, at update t:

    L <- beta2 L + (1 - beta2) G G^T                             (m x m, from 1e-6 I)
    R <- beta2 c R + (1 - beta2) (P_L G)^T (P_L G) / m           (n x n, from I)
    P_L <- L^(-1/2),  P_R <- R^(-1/2)                            (at a refresh; identities before)
    U_t = P_L Mhat_t P_R

R uses the P_L of the last refresh; then come roots, then moments. Neither factor is debiased. Mhat
and the length that U gets are those of `grafted`: NAdam's, per tensor.

R's history was gathered with the roots of its time. In the first step after a refresh c carries it
over to the new P_L, otherwise c = 1:

    c = max(0, tr(P_L L' P_L) / m),    L' the L of the refresh before that one (at first 1e-6 I),

for if left Gram matrices have kept their shape, P_L is the old root times sqrt(c). Here a refresh
itself multiplies R by c, after taking its root, so that no step need know what the last one did.

Published (in that code): everything above, the decays of NAdam, a ridge of 1e-6 relative to the
largest eigenvalue, a refresh every 20 steps, blocks of at most 1024. This project's own: the first
refresh in step 1 (the code: step 20, and NAdam's update in the first 101); eigendecompositions
(the code: coupled Newton); no ridge on L' within c; a side longer than `max_dim` is left out (the
code: a matrix with a side longer than 40000 gets NAdam's update).
State: 2 m n + 3 m^2 + 2 n^2.
"""

import dataclasses
from typing import Any, ClassVar

from matprec import linalg, transfer
from matprec.algorithms import grafted
from matprec.algorithms.base import Array, State

STARTS = {"left": 1e-6, "right": 1.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CASPRAdaptive(grafted.Grafted):
    """Hyperparameters of "CASPR Adaptive", all of them those of `grafted.Grafted`."""

    refresh_every: int = 20

    source: ClassVar = "AlgoPerf v0.5 submission caspr_adaptive (not the paper's CASPR)"
    state_size: ClassVar = "2*m*n + 3*m**2 + 2*n**2"
    step_flops: ClassVar = "4*m*n*(left + right) + (2*m*n*left if right else 0) + 10*m*n"
    refresh_flops: ClassVar = "11*(left**3 + right**3) + (2*left**3 if right else 0)"

    def refreshed_keys(self, state: State) -> tuple[str, ...]:
        carried = tuple(key for key in ("right", "left_before") if key in state)
        return super().refreshed_keys(state) + carried

    def init(self, xp: Any, grads: Array) -> State:
        orders = self.orders(grads)
        state = grafted.init(xp, self, grads, orders)
        for side in orders:
            state[side] = STARTS[side] * state[f"{side}_root"]
        if "left" in orders:
            state["left_before"] = STARTS["left"] * state["left_root"]
        return state

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        sides = self.fitting_sides(grads)
        new, white = grafted.accumulate(xp, self, state, grads), grads
        if "left" in sides:
            new["left"] = linalg.ema_gram(xp, state["left"], grads, "left", self.beta2)
            white = linalg.multiply(xp, state["left_root"], grads, "left")
        if "right" in sides:
            white = white * grads.shape[-2] ** -0.5
            new["right"] = linalg.ema_gram(xp, state["right"], white, "right", self.beta2)
        return new

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        new, ok = {}, state["t"] > 0
        for side in self.fitting_sides(grads):
            new[f"{side}_root"], fine = grafted.inverse_root(xp, self, state[side], 0.5)
            ok = ok & fine
        if "left" in self.fitting_sides(grads):
            # A copy: `left` itself is consumed by the next step.
            new["left_before"] = xp.asarray(state["left"], copy=True)
            if "right" in self.fitting_sides(grads):
                inverse = linalg.gram(xp, new["left_root"], "left")
                trace = xp.sum(inverse * state["left_before"], axis=(-2, -1))
                carry = xp.where(trace > 0, trace / grads.shape[-2], 0.0)
                new["right"] = state["right"] * linalg.per_matrix(xp, carry, state["right"])
        return linalg.accept(xp, state, new, ok)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array | transfer.Graft, State]:
        mean = update = grafted.mean(xp, self, state, grads)
        for side in self.fitting_sides(grads):
            update = linalg.multiply(xp, state[f"{side}_root"], update, side)
        return grafted.per_tensor(xp, self, state, update, mean), state
