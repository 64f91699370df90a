"""Targets and budget of a workload from target-setting runs, by AlgoPerf's rules.

AlgoPerf: the validation target is the median over seeds of the best validation value of the best
baseline; the test target is the worst test value among the runs that reach the validation target;
the runtime is 4/3 of that of the target-setting runs; the evaluation period lets evaluations take
10 to 20 % of training time.

Where AlgoPerf's text leaves a choice, this project's own: a run's test value is its best one at any
evaluation, as its validation value is; reaching a target exactly counts; an evaluation takes 15 %
of the period, which is a whole number of seconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import trial_folder
from benchmark.errors import UserError
from benchmark.log import read_json
from benchmark.scoring import Target
from benchmark.trial import Result

# A schedule of 3/4 of the horizon is tuned; submissions get the whole of it.
SETTING_SHARE = 0.75
_EVALUATION_SHARE = 0.15


@dataclass(frozen=True)
class SettingRun:
    """A finished target-setting run. evaluations: columns `step`, `validation`, `test`, `seconds`
    (that the evaluation took); empty if the run ended with an error before its first one."""

    hyperparameters: dict[str, Any]
    rng_seed: int
    result: Result
    evaluations: pd.DataFrame
    sign: int

    def best(self, split: str) -> float:
        """The best value at any evaluation; the worst there is if there is none."""
        values = self.sign * self.evaluations[split].to_numpy(float)
        return self.sign * float(np.max(values[~np.isnan(values)], initial=-math.inf))

    def reaches(self, validation: float) -> bool:
        return self.sign * (self.best("validation") - validation) >= 0

    def steps_to(self, split: str, value: float) -> int | None:
        """The step of the first evaluation that reaches `value`; None if none does."""
        hits = self.sign * (self.evaluations[split].to_numpy(float) - value) >= 0
        return int(self.evaluations["step"].to_numpy()[hits.argmax()]) if hits.any() else None

    def record(self) -> dict[str, Any]:
        """What is written down of this run."""
        return {
            "hyperparameters": self.hyperparameters,
            "rng_seed": self.rng_seed,
            "best_validation": _finite(self.best("validation")),
            "best_validation_step": self.steps_to("validation", self.best("validation")),
            "best_test": _finite(self.best("test")),
            "steps": self.result.global_step,
            "seconds": round(self.result.accumulated_submission_time, 3),
            "compile_seconds": round(self.result.compile_time, 3),
            **({"error": self.result.message} if self.result.reason == "error" else {}),
        }


def read_run(folder: Path, target: Target) -> SettingRun:
    """Reads a trial's folder.

    Raises:
        UserError: the run is not finished.
    """
    result = trial_folder.read_result(folder)
    if result is None:
        raise UserError(f"{folder}: not finished; the same command goes on")
    columns = {
        "step": "global_step",
        "validation": target.column,
        "test": target.column.replace("validation/", "test/"),
        "seconds": "accumulated_eval_time",
    }
    try:
        table = pd.read_csv(folder / "eval_measurements.csv")
        evaluations = pd.DataFrame({new: table[old] for new, old in columns.items()})
    except FileNotFoundError:
        evaluations = pd.DataFrame(columns=list(columns), dtype=float)
    evaluations["seconds"] = evaluations["seconds"].diff()  # the first one compiles: left out
    return SettingRun(
        hyperparameters=read_json(folder / "hparams.json"),
        rng_seed=read_json(folder / "meta_data_0.json")["rng_seed"],
        result=result,
        evaluations=evaluations,
        sign=target.sign,
    )


def ranked(runs: Sequence[SettingRun]) -> list[SettingRun]:
    """Best validation value first; of equal ones the earlier first."""
    return sorted(runs, key=lambda run: -run.sign * run.best("validation"))


def targets(repeats: Sequence[SettingRun], step_hint: int) -> dict[str, Any]:
    """The numbers that a workload needs, from the runs of the best point over seeds."""
    sign = repeats[0].sign
    best = pd.Series([run.best("validation") for run in repeats])
    validation = float(best.median())
    if not math.isfinite(validation):
        raise UserError("no validation target: most of the repeated runs ended without a value")
    test = sign * min(sign * run.best("test") for run in repeats if run.reaches(validation))
    seconds = pd.Series([run.result.accumulated_submission_time for run in repeats]).median()
    evaluations = np.concatenate([run.evaluations["seconds"].to_numpy(float) for run in repeats])
    timed = evaluations[~np.isnan(evaluations)]
    evaluation = float(np.median(timed)) if len(timed) else 0.0
    return {
        "validation_target_value": validation,
        "test_target_value": float(test),
        "max_allowed_runtime_sec": math.ceil(seconds / SETTING_SHARE),
        "eval_period_time_sec": max(1, round(evaluation / _EVALUATION_SHARE)),
        "step_hint": step_hint,
    }


def spread(runs: Sequence[SettingRun], found: Mapping[str, Any]) -> dict[str, Any]:
    """Steps to the validation target over seeds: every run's, and their median and range over the
    runs that reach it (null: none does)."""
    target = found["validation_target_value"]
    records = [
        run.record()
        | {
            "steps_to_validation_target": run.steps_to("validation", target),
            "steps_to_test_target": run.steps_to("test", found["test_target_value"]),
        }
        for run in runs
    ]
    steps = pd.Series([run.steps_to("validation", target) for run in runs], dtype=float)
    return {
        "runs": records,
        "reached": int(steps.notna().sum()),
        "steps_to_validation_target": {
            "median": _finite(steps.median()),
            "min": _finite(steps.min()),
            "max": _finite(steps.max()),
        },
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
