"""From AlgoPerf's hyperparameters to the values of one run."""

import dataclasses
import math
from typing import Any

from algoperf_api import spec
from matprec import settings
from matprec.algorithms.base import check_hyperparameter
from matprec.linalg import is_static
from submissions.common.schedules import HORIZONS, SHAPES, Schedule
from submissions.registry import OPTIMIZERS, SELF_TUNING, TRAINING

SELF_TUNING_BUDGET = 1.5  # times the budget of external tuning, by AlgoPerf's rules since v0.6
_COMPLEMENT = "one_minus_"  # AlgoPerf's search spaces give one_minus_beta1, on a log scale
_CHOICES = {"schedule": SHAPES, "horizon": HORIZONS}


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that stays fixed while a submission trains; hashable, so static under jit.

    Attributes:
      name: of the optimizer.
      values: (name, value) of every hyperparameter.
      self_tuning: whether the run has the longer budget of the self-tuning ruleset.
    """

    name: str
    values: tuple[tuple[str, Any], ...]
    self_tuning: bool = False

    def __getitem__(self, name: str) -> Any:
        return dict(self.values)[name]

    def schedule(self, workload: spec.Workload) -> Schedule:
        """The learning rate's, over the workload's step hint and budget."""
        factor = SELF_TUNING_BUDGET if self.self_tuning else 1.0
        budget = factor * workload.max_allowed_runtime_sec
        return Schedule(dict(self.values), workload.step_hint, budget)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: AlgoPerf's PyTorch checkpoints ask it of everything in the optimizer state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to load."""


def make_run(name: str, hyperparameters: Any) -> Run:
    """The values of one run, all of them checked.

    Args:
      name: in the registry.
      hyperparameters: AlgoPerf's namedtuple, a mapping, or None or an empty mapping
        (self-tuning): the defaults, with the registry's SELF_TUNING.

    Raises:
      ValueError: a hyperparameter is unknown or outside its range, in one line.
    """
    is_namedtuple = hasattr(hyperparameters, "_asdict")
    given = hyperparameters._asdict() if is_namedtuple else dict(hyperparameters or {})
    optimizer = OPTIMIZERS[name]
    values = optimizer.hyperparameters | ({} if given else SELF_TUNING)
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
    if values["schedule"] == "trapezoidal" and values["warmup_factor"] + values["decay_factor"] > 1:
        raise ValueError(
            f"{name}: warmup_factor={values['warmup_factor']!r} and "
            f"decay_factor={values['decay_factor']!r} must sum to at most 1"
        )
    for key in optimizer.own:
        check_hyperparameter(name, key, values[key])
    if optimizer.algorithm is not None:
        settings.build(optimizer.algorithm, values)
    return Run(name, tuple(values.items()), self_tuning=not given)


def check_point(name: str, hyperparameters: Any) -> None:
    """Raise ValueError, one line, when a point is not for optimizer `name`; see `make_run`."""
    make_run(name, hyperparameters)


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
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise ValueError(f"{name}: {key}={value!r} is not one of {', '.join(_CHOICES[key])}")
        return
    if key == "gradient_accumulation_steps":
        check_hyperparameter(name, key, value, int)
        return
    low, high, words = {
        "learning_rate": (0.0, math.inf, "positive and finite"),
        "grad_clip": (0.0, math.inf, "positive and finite"),
        "decay_factor": (0.0, 1.0, "in (0, 1)"),
        "weight_decay": (0.0, math.inf, "non-negative and finite"),
    }.get(key, (0.0, 1.0, "in [0, 1)"))
    number: Any = value if is_static(value) else math.nan
    positive = key in ("learning_rate", "grad_clip", "decay_factor")
    if not low <= number < high or (positive and number == 0):
        raise ValueError(f"{name}: {key}={value!r} must be {words}")
