"""Log trees for tests, in the layout that AlgoPerf and the embedded runner write."""

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

METRIC, TARGET, BUDGET = "mean_average_precision", 0.7, 60.0

META = {
    "workload.target_metric_name": METRIC,
    "workload.validation_target_value": TARGET,
    "workload.test_target_value": 0.6,
    "workload.max_allowed_runtime_sec": BUDGET,
    "workload.eval_period_time_sec": 2,
    "workload.step_hint": 1200,
    "cpu_model_name": "Imagined CPU @ 3.00GHz",
    "cpu_count": 2,
    "cpu_cores_used": 1,
    "os_platform": "Linux-6.1-x86_64",
    "python_version": "3.11.2",
    "git_commit_hash": "0123456789abcdef0123456789abcdef01234567",
    "rng_seed": 17,
    "framework": "jax",
    "versions": {"jax": "0.7.0", "optax": "0.2.2", "numpy": "2.4.6"},
}


def trial_dir(
    root: Path, submission: str, workload: str = "toy", study: int = 0, trial: int = 1
) -> Path:
    return root / submission / f"study_{study}" / f"{workload}_jax" / f"trial_{trial}"


def write_trial(
    folder: Path,
    values: Sequence[float | str],
    *,
    period: float = 10.0,
    metric: str = METRIC,
    steps_per_eval: int = 100,
    compile_time: float | None = 1.5,
    meta: Mapping[str, Any] | None = META,
    result: bool = True,
) -> Path:
    """A trial that measured `values` at times period, 2 period, ... and steps likewise."""
    folder.mkdir(parents=True, exist_ok=True)
    header = ["accumulated_submission_time", "global_step", "score", f"validation/{metric}"]
    rows: list[list[Any]] = [
        [period * i, steps_per_eval * i, period * i, value] for i, value in enumerate(values, 1)
    ]
    if compile_time is not None:
        header.insert(0, "accumulated_compile_time")
        rows = [[compile_time, *row] for row in rows]
    with open(folder / "eval_measurements.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    if meta is not None:
        (folder / "meta_data_0.json").write_text(json.dumps(dict(meta)))
        (folder / "flags_0.json").write_text(json.dumps({"tuning_ruleset": "external"}))
        (folder / "hparams.json").write_text(json.dumps({"learning_rate": 0.001}))
    if result:
        content = {"status": "finished", "reason": "targets_reached", "message": ""}
        (folder / "result.json").write_text(json.dumps(content))
    return folder


def hits_at(evaluation: int, of: int = 8, target: float = TARGET) -> list[float]:
    """A rising curve that first meets a higher-is-better target at the given evaluation (1-based).

    Never, if `evaluation` is beyond `of`.
    """
    return [target + 0.01 * (i - evaluation) for i in range(1, of + 1)]


def race(root: Path, hits: Mapping[str, Sequence[int]], workload: str = "toy") -> Path:
    """One trial per study: `hits[submission]` says at which evaluation each study meets the target.

    Evaluations are 10 s and 100 steps apart.
    """
    for submission, studies in hits.items():
        for study, evaluation in enumerate(studies):
            write_trial(trial_dir(root, submission, workload, study), hits_at(evaluation))
    return root


def realistic_race(root: Path, studies: int = 3) -> Path:
    """Four optimizers with smooth, noisy learning curves and one set that never arrives."""
    speeds = {"adamw": 1.0, "nadamw": 1.25, "shampoo": 1.6, "asgo": 1.9}
    for name, speed in speeds.items():
        for study in range(studies):
            period = {"shampoo": 2.6, "asgo": 2.3}.get(name, 2.0)
            values = [
                0.16
                + 0.62 * (1 - math.exp(-(i - 1) * speed * (1 + 0.07 * study) / 9))
                + 0.012 * math.sin(7 * i * speed + study)
                for i in range(1, 24)
            ]
            compiling = {"shampoo": 7.25, "asgo": 6.5}.get(name, 3.5)
            write_trial(
                trial_dir(root, name, "ogbg_small", study),
                values,
                period=period,
                steps_per_eval=38,
                compile_time=compiling,
                meta={**META, "rng_seed": 100 + study},
            )
    return root


def gold() -> Path:
    """The gold data, or skips the test with the reason."""
    beside = Path(__file__).parents[2] / "shared" / "gold"
    folder = Path(os.environ.get("MATPREC_GOLD", beside))
    if not folder.is_dir():
        pytest.skip(f"no gold data at {folder} (set MATPREC_GOLD)")
    return folder


def write_csv(folder: Path, content: str | bytes) -> Path:
    """Gives a trial these evaluations, character by character; its other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "eval_measurements.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_targets(
    path: Path,
    base: Mapping[str, float],
    held_out: Mapping[str, float] | None = None,
    metric: str = METRIC,
) -> Path:
    """A `workload_targets.json`: target values by workload; held_out None: the key is absent."""
    entries = {
        name: {"target_metric_name": metric, "validation_target_value": value}
        for name, value in {**base, **(held_out or {})}.items()
    }
    content: dict[str, Any] = {"base_workloads": list(base), "workloads": entries}
    if held_out is not None:
        content["held_out_workloads"] = list(held_out)
    path.write_text(json.dumps(content))
    return path
