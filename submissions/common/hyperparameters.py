"""From AlgoPerf's hyperparameters to the values of one run."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

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


def check_names(name: str, given: Iterable[str]) -> None:
    """Raise ValueError, one line, when optimizer `name` lacks one of the hyperparameters."""
    known = OPTIMIZERS[name].hyperparameters
    for hyperparameter in given:
        if hyperparameter.removeprefix(_COMPLEMENT) not in known:
            raise ValueError(
                f"{name} has no hyperparameter {hyperparameter!r}; it has {', '.join(known)} "
                f"(and {_COMPLEMENT}<name> for decays)"
            )


def make_run(name: str, hyperparameters: Any, step_hint: int) -> Run:
    """The values of one run.

    Args:
      name: in the registry.
      hyperparameters: AlgoPerf's namedtuple, or None or an empty mapping (self-tuning): defaults.
      step_hint: the workload's.

    Raises:
      ValueError: a hyperparameter is unknown or outside its range, in one line.
    """
    given = hyperparameters._asdict() if hasattr(hyperparameters, "_asdict") else {}
    check_names(name, given)
    values = OPTIMIZERS[name].hyperparameters
    for key, value in given.items():
        if key.startswith(_COMPLEMENT):
            key, value = key.removeprefix(_COMPLEMENT), 1.0 - value
        # JSON knows 10.0 and 10; integers of an algorithm must be integers.
        whole = isinstance(values[key], int) and not isinstance(values[key], bool)
        values[key] = int(value) if whole and value == int(value) else value
    _check_training(name, values)
    return Run(name, tuple(values.items()), step_hint)


def _check_training(name: str, values: dict[str, Any]) -> None:
    for key in TRAINING:
        value = values[key]
        if value is None:
            continue
        low, high, words = {
            "learning_rate": (0.0, math.inf, "positive and finite"),
            "grad_clip": (0.0, math.inf, "positive and finite"),
            "weight_decay": (-0.0, math.inf, "non-negative and finite"),
        }.get(key, (-0.0, 1.0, "in [0, 1)"))
        positive = words.startswith("positive")
        if not (low <= value < high) or (positive and value == 0):
            raise ValueError(f"{name}: {key}={value!r} must be {words}")
