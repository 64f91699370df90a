"""What Shampoo and its relatives share: moments, roots of statistics, and a borrowed length.

At update t, for a matrix or block with gradient G:

    M_t = beta1 M_{t-1} + (1 - beta1) G_t
    Mhat = (beta1 M_t + (1 - beta1) G_t) / (1 - beta1^t)       (nesterov; else M_t / (1 - beta1^t))
    V_t = beta2 V_{t-1} + (1 - beta2) G_t^2                     (only for graft = "adam")
    D_t = Mhat / (sqrt(V_t / (1 - beta2^t)) + graft_eps)  (adam),  Mhat  (sgd, none)

The method preconditions Mhat; the result gets the length of D, block by block or for the whole
tensor (grafting, arXiv 2002.11803), or keeps its own. Until a block's first roots are accepted
its update is D itself. With beta1 = 0, Mhat = G and no M is stored.

Statistics and roots are named: a statistic `x` of the state has its cached root in `x_root`.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from matprec import linalg, moments, roots, transfer
from matprec.algorithms.base import Array, RefreshingAlgorithm, State

SMALL = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grafted(RefreshingAlgorithm):
    """Hyperparameters that all of them have; subclasses choose other defaults.

    Attributes:
      beta1: decay of the filtered gradient, in [0, 1); 0 is no momentum.
      beta2: decay of the statistics and of the grafting second moment, in [0, 1); 1 sums them up.
      eps, eps_mode: damping of the roots, see `roots.inverse_root`.
      root_method: how roots are computed, see `roots.inverse_root`.
      graft: whose length an update has: Adam's (NAdam's with `nesterov`), the filtered gradient's
        (`sgd`), or its own (`none`).
      graft_eps: added to the root of the grafting second moment.
      nesterov: NAdam's mixing of the filtered gradient (AlgoPerf's form).
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    eps_mode: roots.EpsMode = "relative_max"
    root_method: roots.RootMethod = "eigh"
    graft: Literal["adam", "sgd", "none"] = "adam"
    graft_eps: float = 1e-8
    nesterov: bool = True
    block_size: int | None = 1024

    refresh_at: ClassVar = "after"
    refresh_flops: ClassVar = "11*(left**3 + right**3)"

    def __post_init__(self) -> None:
        super().__post_init__()
        # 1/2 is the exponent of most of them, and of all that have one side left.
        owner = type(self).__name__
        roots.check_root_method(owner, self.root_method, 0.5, self.eps_mode)
        small = linalg.is_static(self.eps) and self.eps < SMALL
        if self.root_method != "eigh" and self.eps_mode == "relative_mean" and small:
            # Below the float32 rounding errors of statistics of low rank: all would be refused.
            raise ValueError(
                f"{owner}: root_method={self.root_method!r} with eps_mode='relative_mean' needs "
                f"eps of at least {SMALL}, not {self.eps!r} (or eps_mode='relative_max')"
            )

    @property
    def has_mean(self) -> bool:
        return not linalg.is_zero(self.beta1)

    def refreshed_keys(self, state: State) -> tuple[str, ...]:
        return tuple(key for key in state if key.endswith("_root"))

    def orders(self, grads: Array) -> dict[str, int]:
        """The preconditioned sides of (B, m, n) and their lengths."""
        return {
            side: grads.shape[-2 if side == "left" else -1] for side in self.fitting_sides(grads)
        }


def init(xp: Any, algorithm: Grafted, grads: Array, orders: Mapping[str, int]) -> State:
    """Zero moments, and for every name zero statistics (B, order, order) with identity roots."""
    state = {}
    if algorithm.has_mean:
        state["filtered"] = xp.zeros_like(grads)
    if algorithm.graft == "adam":
        state["second_moment"] = xp.zeros_like(grads)
    flat = xp.reshape(grads, (grads.shape[0], -1, 1))
    for name, order in orders.items():
        identity = linalg.identity_like(xp, flat, order)
        state |= {name: xp.zeros_like(identity), f"{name}_root": identity}
    return state


def accumulate(xp: Any, algorithm: Grafted, state: State, grads: Array) -> State:
    """`state` with the moments after this gradient."""
    new = {}
    if algorithm.has_mean:
        new["filtered"] = linalg.ema(xp, state["filtered"], grads, algorithm.beta1)
    if algorithm.graft == "adam":
        moment = linalg.ema_squares(xp, state["second_moment"], grads, algorithm.beta2)
        new["second_moment"] = moment
    return state | new


def inverse_root(xp: Any, algorithm: Grafted, factor: Array, exponent: Any) -> tuple[Array, Array]:
    """(factor^-exponent, ok), damped and computed as the hyperparameters say."""
    return roots.inverse_root(
        xp,
        factor,
        exponent,
        eps=algorithm.eps,
        eps_mode=algorithm.eps_mode,
        method=algorithm.root_method,
    )


def refresh(
    xp: Any, algorithm: Grafted, state: State, names: Iterable[str], exponent: Any
) -> State:
    """`state` with the roots of the named statistics, without their bias, where all are finite."""
    new, ok = {}, state["t"] > 0
    for name in names:
        factor = linalg.debias(xp, state[name], algorithm.beta2, state["t"])
        new[f"{name}_root"], fine = inverse_root(xp, algorithm, factor, exponent)
        ok = ok & fine
    return linalg.accept(xp, state, new, ok)


def mean(xp: Any, algorithm: Grafted, state: State, grads: Array) -> Array:
    """Mhat, which the method preconditions."""
    if not algorithm.has_mean:
        return grads
    return moments.corrected_mean(
        xp, state["filtered"], grads, algorithm.beta1, state["t"], nesterov=algorithm.nesterov
    )


def per_block(xp: Any, algorithm: Grafted, state: State, update: Array, mean: Array) -> Array:
    """The preconditioned mean with the length of D, every block by itself; see above."""
    grafted = _grafted(xp, algorithm, state, mean)
    if algorithm.graft != "none":
        update = transfer.graft(xp, update, grafted)
    return _once_refreshed(xp, state, update, grafted)


def per_tensor(
    xp: Any, algorithm: Grafted, state: State, update: Array, mean: Array
) -> Array | transfer.Graft:
    """The preconditioned mean, to get the length of D over its whole tensor; see above."""
    grafted = _grafted(xp, algorithm, state, mean)
    update = _once_refreshed(xp, state, update, grafted)
    if algorithm.graft == "none":
        return update
    return transfer.Graft(update, linalg.squares(xp, grafted))


def _grafted(xp: Any, algorithm: Grafted, state: State, mean: Array) -> Array:
    if algorithm.graft != "adam":
        return mean
    second_moment, t = state["second_moment"], state["t"]
    return moments.adam(xp, mean, second_moment, algorithm.beta2, algorithm.graft_eps, t)


def _once_refreshed(xp: Any, state: State, update: Array, grafted: Array) -> Array:
    return linalg.choose(xp, state["last_refresh"] > 0, update, grafted)
