"""Learning rates: a warm-up, then a decay that ends with the steps or with the time there are.

AlgoPerf's `step_hint` is the number of steps that its baseline takes. A submission that is slower
never reaches the end of a schedule over it; one over the clock ends when the budget does.
"""

import math
from collections.abc import Mapping
from typing import Any

SHAPES = ("cosine", "linear", "trapezoidal", "constant")
HORIZONS = ("step_hint", "clock", "both")

# The clock counts from here on. Programs are compiled in the steps before; their time shortens
# what is left, but must not use up the warm-up.
_COMPILING_STEPS = 5


class Schedule:
    """The learning rate of one run.

    Progress goes from 0 to 1. Over `step_hint` it is steps / step_hint. On the `clock` it is
    elapsed submission time / budget, where the first few steps, in which programs are compiled,
    count as steps and the rest is spread evenly over the time left after them. `both` is whichever
    is further. It never goes back. Without a time it goes by steps.

    With w the share of the warm-up, the rate grows linearly until progress w, the first step's not
    being zero (AlgoPerf's baseline wastes it). Then it falls to zero at
    progress 1: as half a `cosine`, as a line (`linear`), or as a line after a plateau that leaves
    `decay_factor` of the whole for it (`trapezoidal`); or it stays (`constant`).

    The ways in which the clock passes over compilation and falls back on steps are this project's
    own.

    Args:
      values: the hyperparameters `learning_rate`, `warmup_factor`, `schedule`, `horizon` and
        `decay_factor`.
      step_hint: the workload's.
      budget: seconds of submission time.
    """

    def __init__(self, values: Mapping[str, Any], step_hint: int, budget: float) -> None:
        self._peak = values["learning_rate"]
        self._shape = values["schedule"]
        self._horizon = values["horizon"]
        self._decay = values["decay_factor"]
        self._step = 1 / step_hint
        # A whole number of steps, as in AlgoPerf's baselines.
        self._warmup = int(values["warmup_factor"] * step_hint) * self._step
        self._budget = budget
        self._progress = 0.0
        self._start: tuple[float, float] | None = None

    def learning_rate_at(self, step: int, train_state: Mapping[str, Any] | None = None) -> float:
        """The rate of step `step`, counted from 0; steps must be asked for in their order.

        Args:
          train_state: AlgoPerf's; its `accumulated_submission_time` is the time, in seconds.
        """
        elapsed = (train_state or {}).get("accumulated_submission_time")
        now = self._progress_at(step, elapsed)
        self._progress = max(self._progress, min(now, 1.0))
        return self._peak * self._factor(self._progress)

    def _progress_at(self, step: int, elapsed: float | None) -> float:
        by_steps = step * self._step
        if self._horizon == "step_hint" or elapsed is None:
            return by_steps
        if self._start is None:
            if step < _COMPILING_STEPS:
                return by_steps
            # A run that goes on from a checkpoint without this state has used its whole time.
            resumed = step > _COMPILING_STEPS
            self._start = (0.0, 0.0) if resumed else (elapsed, min(by_steps, 1.0))
        began, done = self._start
        left = max(self._budget - began, 1e-9)
        by_clock = done + (1 - done) * (elapsed - began) / left
        return max(by_clock, by_steps) if self._horizon == "both" else by_clock

    def _factor(self, progress: float) -> float:
        if progress < self._warmup:
            return (progress + self._step) / (self._warmup + self._step)
        after = (progress - self._warmup) / max(1 - self._warmup, self._step)
        match self._shape:
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * after))
            case "linear":
                return 1 - after
            case "trapezoidal":
                return min(1.0, (1 - progress) / self._decay)
            case _:
                return 1.0

    def state_dict(self) -> dict[str, Any]:
        """How far it is: AlgoPerf's PyTorch checkpoints keep it."""
        return {"progress": self._progress, "start": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._progress, self._start = state_dict["progress"], state_dict["start"]
