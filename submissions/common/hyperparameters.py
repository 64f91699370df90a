"""From AlgoPerf's hyperparameters to the values of one run."""

import dataclasses
import math
from typing import Any

from matprec import settings
from matprec.algorithms.base import check_hyperparameter
from matprec.linalg import is_static
from submissions.registry import OPTIMIZERS, TRAINING

_COMPLEMENT = "one_minus_"  # AlgoPerf's search spaces give one_minus_beta1, on a log scale


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that stays fixed while a submission trains; hashable, so static under jit.

    Attributes:
      name: of the optimizer.
      values: (name, value) of every hyperparameter.
      step_hint: horizon of the schedule, in steps.
    """

    name: str
    values: tuple[tuple[str, Any], ...]
    step_hint: int

    def __getitem__(self, name: str) -> Any:
        return dict(self.values)[name]

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up from the first step on, then a cosine to zero at `step_hint`.

        Args:
          step: counted from 0. The rate of step 0 is not zero (AlgoPerf's baseline wastes it).
        """
        values = dict(self.values)
        warmup = int(values["warmup_factor"] * self.step_hint)
        if step < warmup:
            return values["learning_rate"] * (step + 1) / (warmup + 1)
        progress = min((step - warmup) / max(self.step_hint - warmup, 1), 1.0)
        return values["learning_rate"] * 0.5 * (1.0 + math.cos(math.pi * progress))

    def state_dict(self) -> dict[str, Any]:
        """Nothing: AlgoPerf's PyTorch checkpoints ask it of everything in the optimizer state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to load."""


def make_run(name: str, hyperparameters: Any, step_hint: int) -> Run:
    """The values of one run, all of them checked.

    Args:
      name: in the registry.
      hyperparameters: AlgoPerf's namedtuple, a mapping, or None or an empty mapping
        (self-tuning): the defaults.
      step_hint: the workload's.

    Raises:
      ValueError: a hyperparameter is unknown or outside its range, in one line.
    """
    is_namedtuple = hasattr(hyperparameters, "_asdict")
    given = hyperparameters._asdict() if is_namedtuple else dict(hyperparameters or {})
    optimizer = OPTIMIZERS[name]
    values = optimizer.hyperparameters
    for key, value in given.items():
        plain = key.removeprefix(_COMPLEMENT)
        known = plain in values and (plain == key or _is_decay(plain))
        if not known:
            raise ValueError(
                f"{name} has no hyperparameter {key!r}; it has {', '.join(values)} "
                f"(and {_COMPLEMENT}<decay>)"
            )
        if plain != key and plain in given:
            raise ValueError(f"{name}: {plain} and {key} are both given")
        values[plain] = _value(name, key, value, values[plain])
    for key in TRAINING:
        _check_training(name, key, values[key])
    for key in optimizer.own:
        check_hyperparameter(name, key, values[key])
    if optimizer.algorithm is not None:
        settings.build(optimizer.algorithm, values)
    return Run(name, tuple(values.items()), step_hint)


def check_point(name: str, hyperparameters: Any) -> None:
    """Raise ValueError, one line, when a point is not for optimizer `name`; see `make_run`."""
    make_run(name, hyperparameters, step_hint=1)


def _value(name: str, key: str, value: Any, default: Any) -> Any:
    """A given value as its optimizer wants it: 1 - value for one_minus_..., 10.0 as the integer."""
    if key.startswith(_COMPLEMENT):
        if not is_static(value):
            raise ValueError(f"{name}: {key}={value!r} is not a number")
        return 1.0 - value
    # JSON's 10.0 and 10 are one number; integers of an algorithm must be integers.
    whole = is_static(value) and math.isfinite(value) and value == math.floor(value)
    return int(value) if whole and (isinstance(default, int) or key == "block_size") else value


def _is_decay(name: str) -> bool:
    """Whether `name` is the decay of an average, of which `one_minus_...` can be given."""
    return name.startswith("beta") or name in ("momentum", "shampoo_beta")


def _check_training(name: str, key: str, value: Any) -> None:
    if value is None and TRAINING[key] is None:
        return
    positive = key in ("learning_rate", "grad_clip")
    low, high, words = {
        "learning_rate": (0.0, math.inf, "positive and finite"),
        "grad_clip": (0.0, math.inf, "positive and finite"),
        "weight_decay": (0.0, math.inf, "non-negative and finite"),
    }.get(key, (0.0, 1.0, "in [0, 1)"))
    number: Any = value if is_static(value) else math.nan
    if not low <= number < high or (positive and number == 0):
        raise ValueError(f"{name}: {key}={value!r} must be {words}")
