"""What an algorithm is: a frozen dataclass of hyperparameters with four pure methods.

Arrays are stacks `(B, m, n)` of matrices in one orientation (rows = outputs); `xp` is the array
namespace. The state is a flat dict of arrays whose leading axis is B. Besides the algorithm's
own keys it holds four counters of shape (B,), kept by `matprec.step` in the state's dtype:

* `t`: updates that a matrix has really seen, this one included; bias correction uses it
* `last_refresh`: `t` at the last refresh that was accepted, 0 before
* `failed_roots`: refreshes refused because a factor or its root was not finite
* `skipped_updates`: gradients that were not finite

`refresh_at` says where in a step a refresh falls: "before" the moments (bases of the current
gradient), "after" them and the statistics (roots of what has just been accumulated), or at its
"end", after the direction (bases one step stale).

Methods are pure: they never write in place, never branch in Python on array values and never
name a framework. Hyperparameters that are floats may be traced arrays.
"""

import dataclasses
import functools
import math
import types
import typing
from typing import Any, ClassVar, Literal

from matprec import transfer
from matprec.linalg import Side, is_array, is_static

Array = Any
State = dict[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Base of all algorithms; a subclass adds hyperparameters and its own mathematics."""

    source: ClassVar[str]  # where the equations are published
    # Elements of state per m x n matrix with default settings, a Python expression in m, n,
    # d = min(m, n), D = max(m, n) and hyperparameters; the four counters come on top.
    state_size: ClassVar[str]
    # Floating-point operations of a step without refresh, and of a refresh on top, per m x n matrix
    # with default settings, a multiply-add counted as 2: leading terms of the mathematics, however
    # it is implemented. Python expressions as above, and in `left` and `right`, the orders of a
    # two-sided method's factors: m and n, 0 for a side that is longer than `max_dim`. Elementwise
    # work like Adam's counts as 10 per element.
    step_flops: ClassVar[str]
    refresh_flops: ClassVar[str] = "0"
    elementwise: ClassVar[bool] = False  # True: every tensor is a row of numbers, none a matrix
    refresh_at: ClassVar[Literal["before", "after", "end", "never"]] = "never"
    refreshed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, kind in kinds(type(self)).items():
            check_hyperparameter(type(self).__name__, name, getattr(self, name), kind)

    @property
    def decay_inside(self) -> bool:
        """Whether `direction` adds the weight decay itself; else the adapters do."""
        return False

    def refreshed_keys(self, state: State) -> tuple[str, ...]:
        """Those of `refreshed` that a state of this shape has."""
        return tuple(key for key in self.refreshed if key in state)

    def init(self, xp: Any, grads: Array) -> State:
        """State before the first step, for gradients like `grads` (B, m, n)."""
        raise NotImplementedError

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        """Every step: moments and statistics. Keys that the state does not have are for this
        step's `direction`."""
        raise NotImplementedError

    def decompose(self, xp: Any, state: State, grads: Array, *, first: bool) -> State:
        """When due, before `refresh`: what the first one of a matrix does otherwise than later
        ones. Arrays (B, ...) under keys that the state does not have, for `refresh`."""
        return {}

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        """When due: roots or bases. Changes only the keys in `refreshed`, and `failed_roots`."""
        raise NotImplementedError

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array | transfer.Graft, State]:
        """Every step: the update (B, m, n), before learning rate and sign.

        A `transfer.Graft` asks for its length to be transferred over whole tensors. `decay` is
        weight_decay * parameters where `decay_inside`, else None.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixAlgorithm(Algorithm):
    """An algorithm for matrices; what is none goes to the fallback.

    Attributes:
      block_size: largest side of a block into which matrices are cut; None for whole matrices.
      max_dim: a matrix with both sides longer goes to the fallback; two-sided methods leave out a
        side that is longer.
      precondition_head: whether output layers count as matrices or go to the fallback.
    """

    block_size: int | None = None
    max_dim: int = 8192
    precondition_head: bool = True

    @property
    def merges_dims(self) -> bool:
        """Whether it takes tensors of any order, see `layout.Options.merge_dims`."""
        return False

    @property
    def fallback_momentum(self) -> bool:
        """Whether the fallback keeps a first moment, as the algorithm itself does."""
        return True

    def fitting_sides(self, grads: Array) -> tuple[Side, ...]:
        """The sides of (B, m, n) that a two-sided method preconditions."""
        rows, columns = grads.shape[-2:]
        lengths: dict[Side, int] = {"left": rows, "right": columns}
        return tuple(side for side, length in lengths.items() if length <= self.max_dim)

    def small_side(self, grads: Array) -> Side:
        """The shorter side of (B, m, n), the right one when equal."""
        return "left" if grads.shape[-2] < grads.shape[-1] else "right"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefreshingAlgorithm(MatrixAlgorithm):
    """An algorithm with roots or bases that are computed now and then.

    Attributes:
      refresh_every: steps between refreshes, at least 1.
      start_step: step of the first refresh, counted from 1. Where a gradient is zero then, the
        first refresh waits for one that is not.
      stagger: give every matrix its own step of the `refresh_every` ones for all refreshes but the
        first (this project's own), so that steps take alike; published methods refresh all at once.
    """

    refresh_every: int = 10
    start_step: int = 1
    stagger: bool = False


@functools.cache
def kinds(algorithm: type[Algorithm]) -> dict[str, Any]:
    """The annotations of an algorithm's hyperparameters: float, int, bool, Literal, or None too."""
    hints = typing.get_type_hints(algorithm)
    return {field.name: hints[field.name] for field in dataclasses.fields(algorithm)}


def is_whole(kind: Any) -> bool:
    """Whether an annotation wants an integer."""
    return int in (kind, *typing.get_args(kind))


def check_hyperparameter(owner: str, name: str, value: Any, kind: Any = float) -> None:
    """Raise ValueError, one line, when a hyperparameter is outside its range.

    `kind` is its annotation. Traced values cannot be checked. A second-moment decay of exactly 1
    means a running sum.
    """
    options = typing.get_args(kind)
    if kind is bool or typing.get_origin(kind) is Literal:
        choices = options or (False, True)
        if value not in choices or isinstance(value, int) != (kind is bool):
            raise ValueError(
                f"{owner}: {name}={value!r} is not one of {', '.join(map(str, choices))}"
            )
        return
    if is_array(value) or (value is None and types.NoneType in options):
        return
    number: Any = value if is_static(value) else math.nan
    wanted = _whole(number) if is_whole(kind) else _range(name, number)
    if wanted:
        raise ValueError(f"{owner}: {name}={value!r} must be {wanted}")


def _whole(value: Any) -> str | None:
    return None if isinstance(value, int) and value >= 1 else "an integer of at least 1"


def _range(name: str, value: float) -> str | None:
    """What `value` must be where it is not, else None. NaN satisfies no range."""
    if name == "beta2":
        return None if 0 <= value <= 1 else "in [0, 1), or exactly 1 for a running sum"
    if name.startswith("beta") or name in ("momentum", "shampoo_beta"):
        return None if 0 <= value < 1 else "in [0, 1)"
    if name in ("exponent", "rms", "scale", "clip"):
        return None if 0 < value < float("inf") else "positive and finite"
    return None if 0 <= value < float("inf") else "non-negative and finite"
