"""ASGO: adaptive structured gradient optimization, one-sided (arXiv 2503.20762).

For a matrix W (m x n) with gradient G, d = min(m, n), on the right side (m >= n):

    V_t = beta2 V_{t-1} + (1 - beta2) G_t^T G_t          (n x n; G G^T, m x m, on the left)
    M_t = beta1 M_{t-1} + (1 - beta1) G_t                (m x n, no bias correction)
    U_t = M_t V_t^{-1/2}                                 (V_t^{-1/2} M_t on the left)
    U_t <- 0.2 sqrt(m n) U_t / ||U_t||                   (RMS alignment)

V uses the current gradient before it is applied; the preconditioner acts on the momentum. This is
the practical version (Algorithm 2 and the authors' code). Because of the last line any scalar
bias correction of M or V cancels. ASGOTheory is the version that is analysed (Algorithm 1),

    V_t = V_{t-1} + G_t G_t^T,   U_t = (V_t^{1/2} + eps I)^{-1} G_t      (on the left),

a sum, with eps outside the root, without momentum or alignment. Directions that no gradient has had
yet would be divided by eps alone, and rounding errors with them: while V is singular (n < m at
first, or gradients of low rank) eigenvalues count as at least m times the rounding unit of the
largest one. With refresh_every > 1 a gradient in such a direction still takes a step of up to its
length over the root of that. DASGO is the diagonal one,

    v_t = beta2 v_{t-1} + (1 - beta2) diag(G_t^T G_t)    (n: squared lengths of G's columns)
    U_t = M_t diag(v_t + eps)^{-1/2}, then aligned as above,

always on the input side; it equals ASGO on the right where G^T G is diagonal.

Published: the equations, ASGO's beta1 = 0.9, beta2 = 0.8, RMS 0.2, the smaller side, the right one
when m = n, DASGO's beta2 = 0.95 and eps 1e-8 inside the root, Adam for embeddings, tied heads and
vectors. This project's own: rows are outputs in both frameworks, so that ties mean the input side
in both; for ASGO a ridge inside the root relative to the largest eigenvalue (the code has in effect
none) and `refresh_every = 10` with an eigendecomposition (the code: every step by Polar Express);
ASGOTheory's eps 1e-8, least eigenvalues and other sides; a chosen side longer than max_dim gives
way to the shorter one; all output heads on the fallback.
State: m n + 2 d^2; ASGOTheory 2 m^2; DASGO m n + n.
"""

import dataclasses
from typing import Any, ClassVar, Literal

from matprec import linalg, roots, transfer
from matprec.algorithms.base import Array, MatrixAlgorithm, RefreshingAlgorithm, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OneSided(RefreshingAlgorithm):
    """Statistics of one side of a matrix, and their cached inverse square root."""

    side: Literal["small", "left", "right"]
    precondition_head: bool = False

    refresh_at: ClassVar = "after"
    refreshed: ClassVar = ("root",)

    def _side(self, grads: Array) -> linalg.Side:
        if self.side == "small" or self.side not in self.fitting_sides(grads):
            return self.small_side(grads)
        return self.side

    def init(self, xp: Any, grads: Array) -> State:
        order = grads.shape[-2 if self._side(grads) == "left" else -1]
        identity = linalg.identity_like(xp, grads, order)
        return {"statistics": xp.zeros_like(identity), "root": identity}

    def _statistics(self, xp: Any, state: State, grads: Array, beta: Any) -> Array:
        return linalg.ema_gram(xp, state["statistics"], grads, self._side(grads), beta)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ASGO(_OneSided):
    """Hyperparameters of ASGO.

    Attributes:
      beta1: decay of the momentum, in [0, 1); exactly 0 keeps none.
      beta2: decay of the statistics, in [0, 1); 1 sums them up.
      eps: ridge of the root, relative to the largest eigenvalue.
      root_method: how roots are computed, see `roots.inverse_root`.
      side: which side is preconditioned; `small` is the shorter one, the right one when equal.
      rms: root mean square of the update.
    """

    beta1: float = 0.9
    beta2: float = 0.8
    eps: float = 1e-6
    root_method: roots.RootMethod = "eigh"
    side: Literal["small", "left", "right"] = "small"
    rms: float = 0.2

    source: ClassVar = "arXiv 2503.20762, Algorithm 2"
    state_size: ClassVar = "m*n + 2*d**2"
    step_flops: ClassVar = "4*d**2*D"
    refresh_flops: ClassVar = "11*d**3"

    def init(self, xp: Any, grads: Array) -> State:
        return super().init(xp, grads) | _no_momentum(xp, grads, self.beta1)

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        statistics = self._statistics(xp, state, grads, self.beta2)
        return state | {"statistics": statistics} | _averaged(xp, state, grads, self.beta1)

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        root, ok = roots.inverse_root(
            xp, state["statistics"], 0.5, eps=self.eps, method=self.root_method
        )
        return linalg.accept(xp, state, {"root": root}, ok)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        momentum = state.get("momentum", grads)
        update = linalg.multiply(xp, state["root"], momentum, self._side(grads))
        return transfer.align_rms(xp, update, self.rms), state


@dataclasses.dataclass(frozen=True, kw_only=True)
class ASGOTheory(_OneSided):
    """Hyperparameters of the analysed version of ASGO.

    Attributes:
      eps: added to the root, not to what is under it.
      side: which side is preconditioned; `small` is the shorter one, the right one when equal.
    """

    eps: float = 1e-8
    side: Literal["small", "left", "right"] = "left"
    refresh_every: int = 1

    source: ClassVar = "arXiv 2503.20762, Algorithm 1"
    state_size: ClassVar = "2*m**2"
    step_flops: ClassVar = "4*m*n*(left or right)"
    refresh_flops: ClassVar = "11*(left or right)**3"

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        return state | {"statistics": self._statistics(xp, state, grads, 1.0)}

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        root, ok = roots.inverse_root(
            xp, state["statistics"], exponent=0.5, eps=self.eps, eps_mode="outside"
        )
        return linalg.accept(xp, state, {"root": root}, ok)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        return linalg.multiply(xp, state["root"], grads, self._side(grads)), state


@dataclasses.dataclass(frozen=True, kw_only=True)
class DASGO(MatrixAlgorithm):
    """Hyperparameters of DASGO. It has no roots to refresh.

    Attributes:
      beta1: decay of the momentum, in [0, 1); exactly 0 keeps none.
      beta2: decay of the statistics, in [0, 1); 1 sums them up.
      eps: added under the root.
      rms: root mean square of the update.
    """

    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    rms: float = 0.2
    precondition_head: bool = False

    source: ClassVar = "arXiv 2503.20762, Algorithm 4"
    state_size: ClassVar = "m*n + n"
    step_flops: ClassVar = "10*m*n"

    def init(self, xp: Any, grads: Array) -> State:
        statistics = xp.zeros_like(grads[..., :1, :])
        return {"statistics": statistics} | _no_momentum(xp, grads, self.beta1)

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        lengths = xp.sum(grads * grads, axis=-2, keepdims=True)
        statistics = linalg.ema(xp, state["statistics"], lengths, self.beta2)
        return state | {"statistics": statistics} | _averaged(xp, state, grads, self.beta1)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        update = state.get("momentum", grads) / xp.sqrt(state["statistics"] + self.eps)
        return transfer.align_rms(xp, update, self.rms), state


def _no_momentum(xp: Any, grads: Array, beta1: Any) -> State:
    """The momentum before the first step; none where `beta1` is 0."""
    absent = linalg.is_zero(beta1)
    return {} if absent else {"momentum": xp.zeros_like(grads)}


def _averaged(xp: Any, state: State, grads: Array, beta1: Any) -> State:
    """The momentum of this step, if there is one."""
    if "momentum" not in state:
        return {}
    return {"momentum": linalg.ema(xp, state["momentum"], grads, beta1)}
