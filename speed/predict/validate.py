"""Predictions of published entries beside the step times of their logs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from speed.predict import entries, models
from speed.predict.calibrate import SHAMPOO, Calibration
from speed.predict.forecast import (
    Case,
    Machine,
    NoReference,
    between,
    entry_seconds,
    model_seconds,
    reference,
)
from speed.predict.gpus import GPUS
from speed.predict.step_times import StepTime

# The entry that others with the same framework and batch are compared with, where both are.
BASES = {"baseline", "schedule_free_adamw", "nadamw", "ademamix"}
NEAR = 25  # per cent


def predictions(
    calibration: Calibration, times: Sequence[StepTime], logs: str | None
) -> pd.DataFrame:
    """One row per submission and workload of one log tree.

    `measured`, `mean`: `seconds` and `mean` of `StepTime`. `predicted`, `least`, `most`: seconds
    per step, NaN where `remark` says why; else that names the reference of the model's part.
    `use`: what the row was to the calibration: `reference` (its error is 0 by construction, unless
    its rest came out negative), `fit`, or `test`. CASPR Adaptive's roots are taken to need the
    median of the iterations that the other workloads tell of.

    Args:
      calibration: made without these logs, or with them under the name `logs`.
      times: of the log tree.
      logs: None: of another machine; each model's newest reference is taken.

    Raises:
        ValueError: the GPU is none of `GPUS`.
    """
    return pd.DataFrame([_row(calibration, measured, logs) for measured in times])


def _row(calibration: Calibration, measured: StepTime, logs: str | None) -> dict[str, Any]:
    name, workload, framework = measured.submission, measured.workload, measured.framework
    machine = machine_of(measured)
    row: dict[str, Any] = {
        "workload": workload,
        "submission": name,
        "framework": framework,
        "use": "test",
        "measured": measured.seconds,
        "mean": measured.mean,
        "predicted": np.nan,
        "least": np.nan,
        "most": np.nan,
        "error_percent": np.nan,
        "remark": "",
    }
    if workload not in models.known():
        return row | {"remark": "shapes not known"}
    if name not in entries.ENTRIES:
        return row | {"remark": "entry not known"}
    try:
        source = reference(calibration, workload, framework, logs)
    except NoReference as error:
        return row | {"remark": str(error)}
    batch = entries.ENTRIES[name].batch(workload)
    iterations = iterations_without(calibration, workload)

    def total(case: Case) -> float:
        model = model_seconds(
            calibration, workload, framework, machine, case, batch=batch, logs=logs
        )
        return model + entry_seconds(name, workload, machine, case, iterations)

    least, value, most = between(calibration, total)
    if logs is not None:
        row["use"] = _use(name, workload, source.submission)
    return row | {
        "predicted": value,
        "least": least,
        "most": most,
        "error_percent": 100 * (value / measured.seconds - 1),
        "remark": f"{source.submission}, {source.logs}",
    }


def _use(name: str, workload: str, source: str) -> str:
    if name == source:
        return "reference"
    _, fitted, base = SHAMPOO
    return "fit" if name == fitted and entries.same_batch(fitted, base, workload) else "test"


def machine_of(row: StepTime) -> Machine:
    """The machine that a row was measured on.

    Raises:
        ValueError: its GPU is none of `GPUS`.
    """
    for gpu in GPUS.values():
        if gpu.short in row.gpu:
            return Machine(gpu, row.devices)
    raise ValueError(f"{row.gpu!r} is none of {', '.join(gpu.short for gpu in GPUS.values())}")


def iterations_without(calibration: Calibration, workload: str) -> float:
    """Of CASPR Adaptive's roots: the median over the other workloads."""
    others = [count for name, count in calibration.caspr_iterations.items() if name != workload]
    return float(np.median(others)) if others else 0.0


def differences(calibration: Calibration, times: Sequence[StepTime]) -> pd.DataFrame:
    """What an entry's step takes longer than another's of the same logs, framework and batch: the
    model's share, and with it most of the error, drops out. Milliseconds; `noise`: by how much the
    two medians may be wrong, half of the spreads of their trials added."""
    known = [row for row in times if row.workload in models.known()]
    return pd.DataFrame(
        [
            _difference(calibration, ours, base)
            for ours in known
            for base in known
            if _comparable(ours, base)
        ]
    )


def _comparable(ours: StepTime, base: StepTime) -> bool:
    return (
        base.submission in BASES
        and ours.submission in entries.ENTRIES.keys() - BASES
        and (ours.workload, ours.framework) == (base.workload, base.framework)
        and entries.same_batch(ours.submission, base.submission, ours.workload)
    )


def _difference(calibration: Calibration, ours: StepTime, base: StepTime) -> dict[str, Any]:
    workload, machine = ours.workload, machine_of(ours)
    iterations = iterations_without(calibration, workload)

    def predicted(case: Case) -> float:
        first, second = (
            entry_seconds(row.submission, workload, machine, case, iterations)
            for row in (ours, base)
        )
        return 1e3 * (first - second)

    least, value, most = between(calibration, predicted)
    spread = sum((row.high - row.low) / 2 for row in (ours, base))
    return {
        "workload": workload,
        "submission": ours.submission,
        "less": base.submission,
        "measured_ms": 1e3 * (ours.seconds - base.seconds),
        "noise_ms": 1e3 * spread,
        "predicted_ms": value,
        "least_ms": least,
        "most_ms": most,
    }


def by_workload(table: pd.DataFrame) -> pd.DataFrame:
    """The errors of the rows that are tests, by workload and framework."""
    tests = table[(table["use"] == "test") & table["error_percent"].notna()]
    inside = tests["measured"].between(tests["least"], tests["most"])  # type: ignore[union-attr]
    errors = tests.assign(inside=inside).groupby(["workload", "framework"])
    return errors.agg(
        tests=("error_percent", "size"),
        median_error_percent=("error_percent", "median"),
        least_error_percent=("error_percent", "min"),
        most_error_percent=("error_percent", "max"),
        inside_interval=("inside", "sum"),
    ).reset_index()


def summary(table: pd.DataFrame) -> str:
    """One line on the errors of the rows that are tests."""
    tests = [row for row in table.to_dict("records") if row["use"] == "test"]
    told = [row for row in tests if np.isfinite(row["error_percent"])]
    if not told:
        return f"no tests; {len(tests)} not predicted"
    sizes = np.abs([row["error_percent"] for row in told])
    inside = sum(row["least"] <= row["measured"] <= row["most"] for row in told)
    return (
        f"{len(told)} tests: median absolute error {np.median(sizes):.0f} %, largest "
        f"{sizes.max():.0f} %, {(sizes <= NEAR).sum()} within {NEAR} %, {inside} inside their "
        f"interval; {len(tests) - len(told)} not predicted"
    )
