"""What an algorithm is: a frozen dataclass of hyperparameters with four pure methods.

Arrays are stacks `(B, m, n)` of matrices in one orientation (rows = outputs); `xp` is the array
namespace. The state is a flat dict of arrays whose leading axis is B. Besides the algorithm's
own keys it holds four counters of shape (B,), kept by `matprec.step` in the state's dtype:

* `t`: updates that a matrix has really seen, this one included; bias correction uses it
* `last_refresh`: `t` at the last refresh that was accepted, 0 before
* `failed_roots`: refreshes refused because a factor or its root was not finite
* `skipped_updates`: gradients that were not finite

Methods are pure: they never write in place, never branch in Python on array values and never
name a framework. Hyperparameters that are floats may be traced arrays.
"""

import dataclasses
import math
from typing import Any, ClassVar, Literal

from matprec.linalg import EPS_MODES, is_array, is_static

Array = Any
State = dict[str, Array]

CHOICES: dict[str, tuple[Any, ...]] = {
    "side": ("small", "left", "right"),
    "graft": ("adam", "sgd", "none"),
    "eps_mode": EPS_MODES,
    "nesterov": (False, True),
    "precondition_head": (False, True),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Base of all algorithms; a subclass adds hyperparameters and its own mathematics."""

    elementwise: ClassVar[bool] = False  # True: every tensor is a row of numbers, none a matrix
    refresh_at: ClassVar[Literal["before", "after", "end", "never"]] = "never"
    refreshed: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_hyperparameter(type(self).__name__, field.name, getattr(self, field.name))

    @property
    def decay_inside(self) -> bool:
        """Whether `direction` adds the weight decay itself; else the adapters do."""
        return False

    def init(self, xp: Any, grads: Array) -> State:
        """State before the first step, for gradients like `grads` (B, m, n)."""
        raise NotImplementedError

    def accumulate(self, xp: Any, state: State, grads: Array) -> State:
        """Every step: moments and statistics."""
        raise NotImplementedError

    def refresh(self, xp: Any, state: State, grads: Array) -> State:
        """When due: roots or bases. Changes only the keys in `refreshed`, and `failed_roots`."""
        raise NotImplementedError

    def direction(
        self, xp: Any, state: State, grads: Array, decay: Array | None
    ) -> tuple[Array, State]:
        """Every step: the update (B, m, n), before learning rate and sign.

        `decay` is weight_decay * parameters where `decay_inside`, else None.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixAlgorithm(Algorithm):
    """An algorithm that preconditions matrices and refreshes its preconditioner now and then.

    Attributes:
      refresh_every: steps between refreshes of roots or bases, at least 1.
      start_step: step of the first refresh, counted from 1.
      block_size: largest side of a block into which matrices are cut; None for whole matrices.
      precondition_head: whether output layers count as matrices or go to the fallback.
    """

    refresh_every: int = 10
    start_step: int = 1
    block_size: int | None = None
    precondition_head: bool = True


def check_hyperparameter(owner: str, name: str, value: Any) -> None:
    """Raise ValueError, one line, when a hyperparameter is outside its range.

    Traced values cannot be checked. A second-moment decay of exactly 1 means a running sum.
    """
    if name in CHOICES:
        if value not in CHOICES[name]:
            choices = ", ".join(map(str, CHOICES[name]))
            raise ValueError(f"{owner}: {name}={value!r} is not one of {choices}")
        return
    if is_array(value) or (value is None and name == "block_size"):
        return
    number: Any = value if is_static(value) else math.nan
    wanted = _range(name, number)
    if wanted:
        raise ValueError(f"{owner}: {name}={value!r} must be {wanted}")


def _range(name: str, value: float) -> str | None:
    """What `value` must be where it is not, else None. NaN satisfies no range."""
    if name in ("refresh_every", "start_step", "block_size"):
        return None if isinstance(value, int) and value >= 1 else "an integer of at least 1"
    if name == "beta2":
        return None if 0 <= value <= 1 else "in [0, 1), or exactly 1 for a running sum"
    if name.startswith("beta") or name == "momentum":
        return None if 0 <= value < 1 else "in [0, 1)"
    if name in ("exponent", "rms"):
        return None if 0 < value < float("inf") else "positive and finite"
    return None if 0 <= value < float("inf") else "non-negative and finite"
