"""Which validation value a run must reach, on which workload, within which budget."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.scoring.logs import Trial
from benchmark.trial import SELF_TUNING_FACTOR

LOWER_IS_BETTER = {"loss", "ce_loss", "wer", "cer", "ppl", "perplexity", "error_rate", "mse", "mae"}
HIGHER_IS_BETTER = {"accuracy", "mean_average_precision", "ssim", "bleu", "psnr", "auc", "f1"}


@dataclass(frozen=True)
class Target:
    """A validation target; reaching exactly `value` counts. budget: seconds, NaN if unknown."""

    workload: str
    metric: str
    value: float
    budget: float = math.nan

    @property
    def column(self) -> str:
        return f"validation/{self.metric}"

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    @property
    def goal(self) -> str:
        return f"{'≥' if self.sign > 0 else '≤'} {self.value:.6g}"

    def __str__(self) -> str:
        return f"{self.metric} {self.goal}"


def targets_from_file(path: Path, trials: Iterable[Trial], warnings: list[str]) -> list[Target]:
    """The base workloads of a `workload_targets.json` (the schema of AlgoPerf's scoring), budgets
    from the logs.

    Held-out variants are not gates yet in this version: they are left out with a warning.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        base = list(content["base_workloads"])
        entries = {
            name: (entry["target_metric_name"], float(entry["validation_target_value"]))
            for name, entry in content["workloads"].items()
            if name in base
        }
        absent = [name for name in base if name not in entries]
    except OSError as error:
        raise UserError(f"--workload_targets={path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"--workload_targets={path}: not a targets file ({type(error).__name__}: {error}); "
            'it needs {"base_workloads": [name, ...], "workloads": '
            '{name: {"target_metric_name": ..., "validation_target_value": ...}}}'
        ) from error
    if absent:
        raise UserError(f"--workload_targets={path}: no target for {', '.join(absent)}")
    if content.get("held_out_workloads"):
        warnings.append(
            f"{path.name}: held-out workloads are not part of the score in this version: "
            + ", ".join(content["held_out_workloads"])
        )
    budgets = _agreed(trials, _budget, "budgets (seconds)", warnings)
    return [
        _checked(Target(name, *entries[name], budget=budgets.get(name, math.nan)), warnings)
        for name in base
    ]


def targets_from_logs(trials: Sequence[Trial], warnings: list[str]) -> list[Target]:
    """The targets that the runs themselves recorded (meta_data), by workload name."""
    found = _agreed(trials, _metric_and_value, "targets", warnings)
    budgets = _agreed(trials, _budget, "budgets (seconds)", warnings)
    return [
        _checked(Target(name, *found[name], budget=budgets.get(name, math.nan)), warnings)
        for name in sorted(found)
    ]


def _metric_and_value(trial: Trial) -> tuple[str, float] | None:
    metric = trial.meta.get("workload.target_metric_name")
    value = trial.meta.get("workload.validation_target_value")
    if not isinstance(metric, str) or not isinstance(value, int | float):
        return None
    return (metric, float(value)) if math.isfinite(value) else None


def _budget(trial: Trial) -> float | None:
    seconds = trial.meta.get("workload.max_allowed_runtime_sec")
    if not isinstance(seconds, int | float):
        return None
    return seconds * (SELF_TUNING_FACTOR if trial.flags.get("tuning_ruleset") == "self" else 1.0)


def _agreed(trials: Iterable[Trial], read: Any, what: str, warnings: list[str]) -> dict[str, Any]:
    """What most trials of each workload say; a warning where they disagree."""
    said: dict[str, list[Any]] = {}
    for trial in trials:
        value = read(trial)
        if value is not None:
            said.setdefault(trial.where.workload, []).append(value)
    agreed = {}
    for workload, values in said.items():
        agreed[workload] = max(sorted(set(values)), key=values.count)
        if len(set(values)) > 1:
            listed = ", ".join(f"{value} ({values.count(value)} runs)" for value in set(values))
            warnings.append(
                f"{workload}: runs with different {what} in one pool: {listed}; "
                f"{agreed[workload]} is used"
            )
    return agreed


def _checked(target: Target, warnings: list[str]) -> Target:
    if target.metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        warnings.append(
            f"{target.workload}: unknown metric {target.metric!r} is taken as higher = better"
        )
    return target
