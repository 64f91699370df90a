"""On what, with what and from which seed the runs were made: one row of text per trial."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

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
            "hardware": _hardware(trial.meta),
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


def warnings_about(trials: Sequence[Trial], facts: pd.DataFrame) -> list[str]:
    """What to know before comparing the runs: unfinished or failed ones, mixed hardware."""
    warnings = []
    # Only logs of the embedded runner have result.json; in others its absence says nothing.
    if any(trial.result for trial in trials):
        for trial in trials:
            if not trial.result:
                warnings.append(f"{trial.where.name}: no result.json (running or interrupted)")
            elif trial.result.get("reason") == "error":
                warnings.append(
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
        warnings.append(
            f"{', '.join(unmeasured)}: the targets are placeholders that nobody has measured; "
            "times to them say nothing (scripts/set_targets.py measures)"
        )
    hardware = Counter(name for name in facts["hardware"] if name)
    if len(hardware) > 1:
        listed = "; ".join(f"{name} ({count} runs)" for name, count in hardware.items())
        warnings.append(f"different hardware in one pool, times do not compare: {listed}")
    return warnings


def _hardware(meta: dict[str, Any]) -> str:
    if meta.get("gpu_model_name"):
        return f"{meta.get('gpu_count', 1)} x {meta['gpu_model_name']}"
    if not meta.get("cpu_model_name"):
        return ""
    cores = meta.get("cpu_cores_used")
    used = f"{cores} of " if cores else ""
    return f"{meta['cpu_model_name']}, {used}{meta.get('cpu_count', '?')} CPU cores"


def _commit(meta: dict[str, Any]) -> str:
    changed = " with changes" if meta.get("git_uncommitted_changes") else ""
    return _text(meta.get("git_commit_hash")) + changed


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _pairs(values: Any) -> str:
    """Names and values; of a number four digits are enough to recognise it."""
    if not isinstance(values, dict):
        return _text(values)
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
