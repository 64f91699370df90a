"""Seconds of training per step, from the logs of AlgoPerf's harness."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.errors import UserError
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import FILE, find_trials, read_trial
from speed.predict.gpus import Gpu

_LEAST_ROWS = 3  # the first interval between evaluations, with its compilation, is left out


class StepTime(NamedTuple):
    """Of one submission on one workload.

    Attributes:
      logs: name of the log tree.
      submission, workload, framework: as its folders say.
      seconds: of a step while nothing stalls: per trial the median over the intervals between
        evaluations, each weighted by its steps; then the median over trials of all studies.
      mean: the same for the mean, with stalls, as they count in time to target.
      low, high: extremes of `seconds` over the trials.
      trials: how many had enough evaluations.
      gpu, devices: as the logs say.
    """

    logs: str
    submission: str
    workload: str
    framework: str
    seconds: float
    mean: float
    low: float
    high: float
    trials: int
    gpu: str
    devices: int


def read(root: Path, gpu: Gpu) -> list[StepTime]:
    """Of all submissions, workloads and frameworks of a log tree of runs on `gpu`, sorted.

    Raises:
        UserError: there are no logs, or they do not say that they were made on such devices.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder of logs")
    findings = Findings()
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for trial in find_trials(root, findings):
        measured = _trial(trial.path / FILE)
        if measured is not None:
            key = trial.submission, trial.workload, trial.framework
            found.setdefault(key, []).append(measured)
    if not found:
        raise UserError(f"{root}: no trial with {_LEAST_ROWS} evaluations in it")
    name, devices = _hardware(root, findings)
    if gpu.short not in name:
        raise UserError(f"{root}: its logs are of {name}, not of {gpu.product}")
    rows = []
    for (submission, workload, framework), trials in sorted(found.items()):
        steady, means = zip(*trials, strict=True)
        rows.append(
            StepTime(
                logs=name_of(root),
                submission=submission,
                workload=workload,
                framework=framework,
                seconds=float(np.median(steady)),
                mean=float(np.median(means)),
                low=min(steady),
                high=max(steady),
                trials=len(trials),
                gpu=name,
                devices=devices,
            )
        )
    return rows


def name_of(root: Path) -> str:
    """Of a log tree: of its folder, or, where that is called `logs`, of the one above."""
    path = root.resolve()
    return path.parent.name if path.name == "logs" else path.name


def _trial(path: Path) -> tuple[float, float] | None:
    """(steady, mean) seconds per step; None where there are too few evaluations."""
    try:
        log = pd.read_csv(path, usecols=["accumulated_submission_time", "global_step"])
    except (OSError, ValueError):
        return None
    log = log[log["global_step"].diff().fillna(1) > 0]
    if len(log) < _LEAST_ROWS:
        return None
    steps = np.diff(log["global_step"])[1:]
    times = np.diff(log["accumulated_submission_time"])[1:]
    rates = times / steps
    order = np.argsort(rates)
    reached = np.cumsum(steps[order])
    steady = rates[order][np.searchsorted(reached, reached[-1] / 2)]
    return float(steady), float(times.sum() / steps.sum())


def _hardware(root: Path, findings: Findings) -> tuple[str, int]:
    found = set()
    for trial in find_trials(root, findings):
        meta = read_trial(trial, root, findings).meta
        if "gpu_model_name" in meta and "gpu_count" in meta:
            found.add((str(meta["gpu_model_name"]), int(meta["gpu_count"])))
    if len(found) != 1:
        raise UserError(
            f"{root}: gpu_model_name and gpu_count of the logs are {sorted(found) or 'absent'}; "
            "one kind of machine is needed"
        )
    return found.pop()
