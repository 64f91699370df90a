"""What AdaDiag, AdafacDiag, HFacDiag and GaLore share: a simpler method on rotated gradients.

For a matrix W (m x n) with gradient G and bases P (m x m), Q (n x n) of singular vectors:

    at a refresh:  G_t = P S Q^T, signs as in `matprec.bases`
    every step:    G~_t = P^T G_t  (m < n),  G_t Q  (m >= n),  or P^T G_t Q  (two-sided)
                   N_t = the simpler method's direction for G~_t, its state in rotated coordinates
                   U_t = P N_t,  N_t Q^T,  P N_t Q^T

A refresh takes the current gradient and comes before that step's moments. These are not rotated
with it: column i of a basis goes on meaning "the i-th strongest direction". Until the first
refresh, which waits for a gradient that is not zero, bases are the identity and the method is the
simpler one; later ones leave a basis as it is where the gradient is exactly zero. Entries of G~
that are rounding errors are set to zero, see `matprec.bases`: without that, in float32, two-sided
methods take a first step of noise, and rows and columns that always have a zero gradient drift at
full speed.
"""

import dataclasses
from typing import Any, ClassVar

from matprec import bases, linalg
from matprec.algorithms.base import Algorithm, Array, RefreshingAlgorithm, State


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotated(RefreshingAlgorithm):
    """Base of these methods; a subclass says what runs on the rotated gradient."""

    refresh_every: int = 200
    precondition_head: bool = False

    refresh_at: ClassVar = "before"
    refreshed: ClassVar = ("left_basis", "right_basis")
    two_sided: ClassVar[bool] = False
    refresh_flops: ClassVar = "2*d**2*D + 9*d**3"

    @property
    def inner(self) -> Algorithm:
        """The method on the rotated gradient."""
        raise NotImplementedError

    def kept(self, order: int) -> int:
        """How many of a basis's columns are kept."""
        return order

    def rotated_sides(self, grads: Array) -> tuple[linalg.Side, ...]:
        """The small side, and for two-sided methods the other unless it exceeds `max_dim`."""
        return self.fitting_sides(grads) if self.two_sided else (self.small_side(grads),)

    def init(self, xp: Any, grads: Array) -> State:
        state, rotated = {}, grads
        for side in self.rotated_sides(grads):
            order = grads.shape[-2 if side == "left" else -1]
            kept = self.kept(order)
            state[f"{side}_basis"] = linalg.identity_like(xp, grads, order)[..., :kept]
            rotated = rotated[:, :kept, :] if side == "left" else rotated[..., :kept]
        return state | self.inner.init(xp, rotated)

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        rotated = self.project_in(xp, state, grads)
        return self.inner.accumulate(xp, state, rotated) | {"rotated": rotated}

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        sides = self.rotated_sides(grads)
        found, ok = bases.singular_bases(xp, grads, self.small_side(grads), both=len(sides) == 2)
        new = {f"{side}_basis": found[side] for side in sides}
        new = {key: basis[..., : state[key].shape[-1]] for key, basis in new.items()}
        new |= self.carried_over(xp, state, new)
        nonzero = linalg.any_nonzero(xp, grads)
        new = {
            key: xp.where(linalg.per_matrix(xp, nonzero, value), value, state[key])
            for key, value in new.items()
        }
        return linalg.accept(xp, state, new, ok)

    def carried_over(self, xp: Any, state: State, new: State) -> State:
        """What else a refresh that brings the bases `new` changes."""
        return {}

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        update, state = self.inner.direction(xp, state, state["rotated"], None)
        return self.project_out(xp, state, update), state

    def project_in(self, xp: Any, state: State, grads: Array) -> Array:
        """G~: (B, m, n) -> (B, m', n')."""
        rotated, axes = grads, []
        if "left_basis" in state:
            rotated = xp.matmul(xp.matrix_transpose(state["left_basis"]), rotated)
            axes.append(-2)
        if "right_basis" in state:
            rotated = xp.matmul(rotated, state["right_basis"])
            axes.append(-1)
        last, now = state["last_refresh"], state["t"]
        return bases.drop_rounding(xp, rotated, grads, tuple(axes), last > 0, last == now)

    def project_out(self, xp: Any, state: State, update: Array) -> Array:
        """(B, m', n') -> (B, m, n)."""
        if "left_basis" in state:
            update = xp.matmul(state["left_basis"], update)
        if "right_basis" in state:
            update = xp.matmul(update, xp.matrix_transpose(state["right_basis"]))
        return update
