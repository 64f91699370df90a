"""On what, with what and from which seed the runs were made: one row of text per trial."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchmark.errors import one_line
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import KEYS, Trial

FACTS = [
    "hardware",
    "system",
    "python",
    "packages",
    "commit",
    "seed",
    "batch_size",
    "ruleset",
    "end",
    "hyperparameters",
]


def facts_of(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial: its five names, and the FACTS as text, "" where not logged."""
    rows = [
        {
            **{key: getattr(trial.where, key) for key in KEYS},
            "hardware": hardware_of(trial.meta),
            "system": _text(trial.meta.get("os_platform")),
            "python": _text(trial.meta.get("python_version")),
            "packages": _pairs(trial.meta.get("versions")),
            "commit": _commit(trial.meta),
            "seed": _text(trial.meta.get("rng_seed")),
            "batch_size": _text(trial.meta.get("global_batch_size")),
            "ruleset": _text(trial.flags.get("tuning_ruleset")),
            "end": _text(trial.result.get("reason")),
            "hyperparameters": _pairs(trial.hparams),
        }
        for trial in trials
    ]
    return pd.DataFrame(rows, columns=[*KEYS, *FACTS])


def tell_of_runs(trials: Sequence[Trial], findings: Findings) -> None:
    """What to know before comparing the runs: unfinished or failed ones, unmeasured targets."""
    # Only logs of the embedded runner have result.json; in others its absence says nothing.
    if any(trial.result for trial in trials):
        for trial in trials:
            if not trial.result:
                findings.note(f"{trial.where.name}: no result.json (running or interrupted)")
            elif trial.result.get("reason") == "error":
                findings.note(
                    f"{trial.where.name}: ended in an error: {trial.result.get('message')}"
                )
    unmeasured = sorted(
        {
            trial.where.workload
            for trial in trials
            if trial.meta.get("workload.target_status", "measured") != "measured"
        }
    )
    if unmeasured:
        findings.note(
            f"{', '.join(unmeasured)}: the targets are placeholders that nobody has measured; "
            "times to them say nothing (scripts/set_targets.py measures)"
        )


def hardware_of(meta: dict[str, Any]) -> str:
    """What times depend on, "" where not logged."""
    if meta.get("gpu_model_name"):
        return _text(f"{meta.get('gpu_count', 1)} x {meta['gpu_model_name']}")
    if not meta.get("cpu_model_name"):
        return ""
    cores = meta.get("cpu_cores_used")
    used = f"{cores} of " if cores else ""
    return _text(f"{meta['cpu_model_name']}, {used}{meta.get('cpu_count', '?')} CPU cores")


def _commit(meta: dict[str, Any]) -> str:
    changed = " with changes" if meta.get("git_uncommitted_changes") else ""
    return _text(meta.get("git_commit_hash")) + changed


def _text(value: Any) -> str:
    return "" if value is None else one_line(str(value))


def _pairs(values: Any) -> str:
    """Names and values; of a number four digits are enough to recognise it."""
    if not isinstance(values, dict):
        return _text(values)
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
