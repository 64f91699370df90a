"""Which validation value a run must reach, on which workloads, within which budget."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.errors import UserError
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import Trial
from benchmark.trial import SELF_TUNING_FACTOR
from workloads_overrides import targets as official

LOWER_IS_BETTER = {
    *("loss", "ce_loss", "ctc_loss", "l1_loss", "mse", "mae", "error_rate"),
    *("wer", "cer", "ppl", "perplexity"),
}
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


@dataclass(frozen=True)
class Pool:
    """The workloads that are scored together.

    targets: by workload, the base workloads first, then the held-out ones. variants: by held-out
    workload its base workload. num_studies, num_trials: what the version's rules require, None
    where none is named. self_tuning_factor: of budgets in self-tuning.
    """

    name: str
    targets: Mapping[str, Target]
    variants: Mapping[str, str] = field(default_factory=dict)
    num_studies: int | None = None
    num_trials: int | None = None
    self_tuning_factor: float = SELF_TUNING_FACTOR

    def only(self, workloads: Sequence[str] | None) -> "Pool":
        """The pool without other workloads; None: the whole of it."""
        if workloads is None:
            return self
        targets = {name: self.targets[name] for name in self.targets if name in workloads}
        variants = {
            name: base
            for name, base in self.variants.items()
            if name in targets and base in targets
        }
        return replace(self, targets=targets, variants=variants)


def pool_of_version(name: str) -> Pool:
    """The workloads and targets of an AlgoPerf version, one of `official.POOLS`."""
    facts = official.load_pool(name)
    base, variants = official.load(), official.variants()
    targets = {}
    for workload in (*facts.base_workloads, *facts.held_out_workloads):
        entry = base.get(workload) or variants[workload]
        budget = facts.max_allowed_runtime_sec.get(workload, math.nan)
        targets[workload] = Target(
            workload, entry.target_metric_name, entry.validation_target_value, budget
        )
    return Pool(
        f"AlgoPerf {name}",
        targets,
        {workload: variants[workload].base_workload for workload in facts.held_out_workloads},
        facts.num_studies,
        facts.num_trials,
        facts.self_tuning_factor,
    )


def pool_from_file(path: Path, findings: Findings) -> Pool:
    """A `workload_targets.json` in the schema of AlgoPerf's scoring."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        base = list(content["base_workloads"])
        held_out = list(content.get("held_out_workloads", ()))
        for name in (*base, *held_out):
            if not isinstance(name, str):
                raise TypeError(f"{name!r} is no workload's name")
        entries = content["workloads"]
        targets = {
            name: Target(
                name,
                str(entries[name]["target_metric_name"]),
                float(entries[name]["validation_target_value"]),
            )
            for name in (*base, *held_out)
            if name in entries
        }
    except OSError as error:
        raise UserError(
            f"--workload_targets={path}: {error.strerror}; it is a file or one of "
            f"{', '.join(official.POOLS)}"
        ) from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise UserError(
            f"--workload_targets={path}: not a targets file ({type(error).__name__}: {error}); "
            'it needs {"base_workloads": [name, ...], "held_out_workloads": [name, ...], '
            '"workloads": {name: {"target_metric_name": ..., "validation_target_value": ...}}}'
        ) from error
    if absent := [name for name in (*base, *held_out) if name not in targets]:
        raise UserError(f"--workload_targets={path}: no target for {', '.join(absent)}")
    for name, target in targets.items():
        if not math.isfinite(target.value):
            raise UserError(
                f"--workload_targets={path}: {name}: validation_target_value={target.value} is "
                "not finite"
            )
    variants = {}
    for name in held_out:
        bases = [known for known in base if name.startswith(f"{known}_")]
        if not bases:
            raise UserError(
                f"--workload_targets={path}: held-out workload {name} is a variant of none of the "
                f"base workloads {', '.join(base)}"
            )
        variants[name] = max(bases, key=len)
    _warn_of_metrics(targets.values(), findings)
    return Pool(path.name, targets, variants)


def pool_from_logs(trials: Sequence[Trial], findings: Findings) -> Pool:
    """The workloads that the logs hold, with the targets that most runs of each recorded, else
    those of AlgoPerf. Its variants of workloads that are logged too are held-out ones, as in v0.5.
    """
    base, variants = official.load(), official.variants()
    said: dict[str, list[tuple[str, float]]] = {}
    for trial in trials:
        found = said.setdefault(trial.where.workload, [])
        if (target := recorded_target(trial)) is not None:
            found.append(target)
    targets = {}
    for name in sorted(said):
        if said[name]:
            targets[name] = Target(name, *max(sorted(set(said[name])), key=said[name].count))
        elif entry := base.get(name) or variants.get(name):
            targets[name] = Target(name, entry.target_metric_name, entry.validation_target_value)
    held_out = {
        name: variants[name].base_workload
        for name in targets
        if name in variants and variants[name].base_workload in targets
    }
    ordered = sorted(targets, key=lambda name: (name in held_out, name))
    _warn_of_metrics(targets.values(), findings)
    return Pool("as logged", {name: targets[name] for name in ordered}, held_out)


def with_budgets(pool: Pool, trials: Iterable[Trial], self_tuning: bool | None) -> Pool:
    """The pool with the budgets that most runs of each workload had; of workloads whose logs name
    none the version's."""
    trials = list(trials)
    said: dict[str, list[float]] = {}
    for trial in trials:
        seconds = recorded_budget(trial, pool.self_tuning_factor, self_tuning)
        if seconds is not None:
            said.setdefault(trial.where.workload, []).append(seconds)
    factor = pool.self_tuning_factor if is_self_tuning(trials, self_tuning) else 1.0
    budgets = {
        name: max(sorted(set(said[name])), key=said[name].count)
        if name in said
        else factor * target.budget
        for name, target in pool.targets.items()
    }
    targets = {name: replace(pool.targets[name], budget=budgets[name]) for name in budgets}
    return replace(pool, targets=targets)


def is_self_tuning(trials: Iterable[Trial], asked: bool | None) -> bool:
    """As asked for, else as all the runs say that say anything."""
    if asked is not None:
        return asked
    said = [ruleset for trial in trials if (ruleset := trial.flags.get("tuning_ruleset"))]
    return bool(said) and all(ruleset == "self" for ruleset in said)


def recorded_target(trial: Trial) -> tuple[str, float] | None:
    """Metric and validation target that a run recorded."""
    metric = trial.meta.get("workload.target_metric_name")
    value = _number(trial, "workload.validation_target_value")
    return (metric, value) if isinstance(metric, str) and value is not None else None


def recorded_budget(trial: Trial, factor: float, self_tuning: bool | None) -> float | None:
    """Seconds that a run had; self_tuning: whether by that ruleset, None: as the run says."""
    seconds = _number(trial, "workload.max_allowed_runtime_sec")
    if seconds is None or seconds <= 0:
        return None
    if self_tuning is None:
        self_tuning = trial.flags.get("tuning_ruleset") == "self"
    return seconds * (factor if self_tuning else 1.0)


def _number(trial: Trial, name: str) -> float | None:
    """A finite number of the meta data; what else stands there is as good as nothing."""
    value = trial.meta.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _warn_of_metrics(targets: Iterable[Target], findings: Findings) -> None:
    for target in targets:
        if target.metric not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
            findings.note(
                f"{target.workload}: unknown metric {target.metric!r} is taken as higher = better"
            )
