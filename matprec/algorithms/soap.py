"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's factors (arXiv 2409.11321).

For a matrix W (m x n) with gradient G, bases Q_L (m x m), Q_R (n x n) and t counted from 1:

    G~_t = Q_L^T G_t Q_R                                 (m x n, bases of the refresh before)
    M_t = beta1 M_{t-1} + (1 - beta1) G~_t,  Mhat_t = M_t / (1 - beta1^(t-1))
    V_t = beta2 V_{t-1} + (1 - beta2) G~_t.^2,  Vhat_t = V_t / (1 - beta2^(t-1))
    L_t = b L_{t-1} + (1 - b) G_t G_t^T                  (m x m, b = shampoo_beta)
    R_t = b R_{t-1} + (1 - b) G_t^T G_t                  (n x n)
    U_t = Q_L [Mhat_t / (sqrt(Vhat_t) + eps)] Q_R^T
    W <- W - eta (U_t + lambda W)

and only then, every `refresh_every` steps, for both sides (written for the left one):

    the first time:  Q_new = eigenvectors of L, largest eigenvalue first
    later:           order the columns q_i of Q_L, and the rows of V with them, by q_i^T L q_i,
                     descending, then Q_new = QR(L Q_L), one step of orthogonal iteration
    always:          M <- Q_new^T Q_L M                  (the same moment in the new basis)

The basis thus never depends on the gradient that it turns. The first step has no basis yet: it
sets L, R and the bases, gives no update, no decay, and leaves M and V at zero; the bias of the
moments counts the steps after it. M and V live in the turned coordinates: M is re-expressed
exactly, V cannot be (a diagonal does not stay one) and only follows its columns. Neither depends
on the signs of the columns.

One gradient leaves the longer side's factor without full rank, and any basis of its null space will
do: rounding chooses it, so that trajectories of matrices that are not square depend on the library.

Published: the above, beta1 = beta2 = shampoo_beta = 0.95, eps 1e-8, refresh_every 10, identity
for sides that are too long, turning one side only as a variant. This project's own: M stays in
the basis between refreshes (the code turns it back and forth in every step, to the same effect);
eps is added to the debiased root (code: to sqrt(V), so that its eps is relatively larger at small
t); decay enters together with the update (code: after it, a difference of eta^2); with
start_step > 1 the bases are the identity until then; a factor that is exactly zero keeps its basis;
max_dim 8192 (code: 10000); `sides="small"` picks the shorter side, the right one when equal; rows
and columns of G~ and of a turned M that are shorter than rounding errors of the whole are zero:
in float32 the code moves units that never have a gradient at full speed within 600 steps.
State: 2 m n + 2 (m^2 + n^2), only one of the squares with one side.
"""

import dataclasses
from typing import Any, ClassVar, Literal

from matprec import bases, linalg, moments
from matprec.algorithms.base import Array, RefreshingAlgorithm, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class SOAP(RefreshingAlgorithm):
    """Hyperparameters of SOAP.

    Attributes:
      beta1: decay of the first moment, in [0, 1); exactly 0 keeps none.
      beta2: decay of the second moment, in [0, 1); 1 sums it up.
      shampoo_beta: decay of the factors L and R, in [0, 1); None is beta2.
      eps: added to the root of the second moment.
      nesterov: NAdam's mixing of the first moment (AlgoPerf's form).
      sides: turn `both` sides, or the `small` one only.
    """

    beta1: float = 0.95
    beta2: float = 0.95
    shampoo_beta: float | None = None
    eps: float = 1e-8
    nesterov: bool = False
    sides: Literal["both", "small"] = "both"

    source: ClassVar = "arXiv 2409.11321"
    state_size: ClassVar = "2*m*n + 2*(m**2 + n**2)"
    step_flops: ClassVar = "6*m*n*(left + right) + 10*m*n"
    refresh_flops: ClassVar = "16/3*(left**3 + right**3) + 2*m*n*(left + right)"
    refresh_at: ClassVar = "end"
    refreshed: ClassVar = ("left_basis", "right_basis", "mean", "second_moment")

    @property
    def decay_inside(self) -> bool:
        return True  # the first step has none

    @property
    def has_mean(self) -> bool:
        return not linalg.is_zero(self.beta1)

    def _sides(self, grads: Array) -> tuple[linalg.Side, ...]:
        fitting = self.fitting_sides(grads)
        if self.sides == "both":
            return fitting
        return tuple(side for side in fitting if side == self.small_side(grads))

    def _bases(self, state: State, grads: Array) -> dict[linalg.Side, Array]:
        return {side: state[f"{side}_basis"] for side in self._sides(grads)}

    def init(self, xp: Any, grads: Array) -> State:
        state = {"second_moment": xp.zeros_like(grads)}
        if self.has_mean:
            state["mean"] = xp.zeros_like(grads)
        for side in self._sides(grads):
            order = grads.shape[-2 if side == "left" else -1]
            identity = linalg.identity_like(xp, grads, order)
            state |= {side: xp.zeros_like(identity), f"{side}_basis": identity}
        return state

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        turned = _turned_above_rounding(
            xp, grads, self._bases(state, grads), state["last_refresh"] > 0
        )
        turned = linalg.choose(xp, state["t"] > 1, turned, 0.0)
        moment = linalg.ema_squares(xp, state["second_moment"], turned, self.beta2)
        new = {"second_moment": moment, "turned": turned}
        if self.has_mean:
            new["mean"] = linalg.ema(xp, state["mean"], turned, self.beta1)
        beta = self.beta2 if self.shampoo_beta is None else self.shampoo_beta
        for side in self._sides(grads):
            new[side] = linalg.ema_gram(xp, state[side], grads, side, beta)
        return state | new

    def decompose(self, xp: Any, state: State, grads: Array, *, first: bool) -> State:
        parts = {}
        for side, old in self._bases(state, grads).items():
            finite = linalg.all_finite(xp, state[side])
            factor = linalg.choose(xp, finite, state[side], 0.0)
            basis, order = _eigenvectors(xp, factor) if first else _power_step(xp, factor, old)
            parts |= {f"{side}_new": basis, f"{side}_order": order, f"{side}_finite": finite}
        return parts

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        ok, new = state["t"] > 0, {}
        moment, old_bases = state["second_moment"], self._bases(state, grads)
        for side, old in old_bases.items():
            basis = state[f"{side}_new"]
            ok = ok & state[f"{side}_finite"] & linalg.all_finite(xp, basis)
            new[f"{side}_basis"] = linalg.choose(xp, linalg.vanishes(xp, state[side]), old, basis)
            moment = _reordered(xp, moment, state[f"{side}_order"], side)
        new["second_moment"] = moment
        if self.has_mean:
            # Back and forth: never more products than by way of Q_L^T Q_new, which are square.
            mean = _turn(xp, state["mean"], _transposed(xp, old_bases))
            turns = self._bases(new, grads)
            new["mean"] = _turned_above_rounding(xp, mean, turns, state["t"] > 0)
        return linalg.accept(xp, state, new, ok)

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        updates = state["t"] - 1
        if self.has_mean:
            mean = moments.corrected_mean(
                xp, state["mean"], state["turned"], self.beta1, updates, nesterov=self.nesterov
            )
        else:
            mean = state["turned"]
        update = moments.adam(xp, mean, state["second_moment"], self.beta2, self.eps, updates)
        update = _turn(xp, update, _transposed(xp, self._bases(state, grads)))
        if decay is not None:
            update = update + decay
        return linalg.choose(xp, updates > 0, update, 0.0), state


def _turn(xp: Any, x: Array, turns: dict[linalg.Side, Array]) -> Array:
    """Q_L^T X Q_R of a stack (B, m, n); a side without a basis stays as it is."""
    for side, basis in turns.items():
        factor = xp.matrix_transpose(basis) if side == "left" else basis
        x = linalg.multiply(xp, factor, x, side)
    return x


def _transposed(xp: Any, turns: dict[linalg.Side, Array]) -> dict[linalg.Side, Array]:
    return {side: xp.matrix_transpose(basis) for side, basis in turns.items()}


def _reordered(xp: Any, x: Array, order: Array, side: linalg.Side) -> Array:
    """A stack (B, m, n) with its rows, or for the right side its columns, in an order (B, d)."""
    if side == "left":
        return linalg.take_rows(xp, x, order)
    return xp.matrix_transpose(linalg.take_rows(xp, xp.matrix_transpose(x), order))


def _turned_above_rounding(
    xp: Any, x: Array, turns: dict[linalg.Side, Array], where: Array
) -> Array:
    """Q_L^T X Q_R, without the rows and columns that are rounding errors where `where` (B,)."""
    if not turns:
        return x
    turned = _turn(xp, x, turns)
    lines = [linalg.line_squares(xp, turned, -1 if side == "left" else -2) for side in turns]
    norm = linalg.norm(xp, turned)
    floor = xp.where(linalg.per_matrix(xp, where, norm), bases.rounding(xp, x.dtype) * norm, 0.0)
    for squared in lines:
        turned = linalg.masked(xp, turned, xp.sqrt(squared) >= floor)
    return turned


def _eigenvectors(xp: Any, factor: Array) -> tuple[Array, Array]:
    """Eigenvectors (B, d, d) of a factor, largest eigenvalue first. No column has a predecessor: as
    an order (B, d) the numbers of the columns."""
    order = xp.arange(factor.shape[-1], device=linalg.device(factor))
    return xp.flip(xp.linalg.eigh(factor)[1], axis=-1), xp.broadcast_to(order, factor.shape[:-1])


def _power_step(xp: Any, factor: Array, old: Array) -> tuple[Array, Array]:
    """One orthogonal iteration from the sorted columns of a basis, and their order (B, d)."""
    # Rows are quicker to sort than columns, and L is symmetric.
    columns = xp.matrix_transpose(old)
    product = xp.matmul(columns, factor)
    order = xp.argsort(xp.sum(columns * product, axis=-1), descending=True, stable=True)
    product = linalg.take_rows(xp, product, order)
    return linalg.orthonormal(xp, xp.matrix_transpose(product)), order
