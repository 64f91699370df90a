"""Finds what the data sheets do not say in step times on V100s; see the package for what it can."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from speed.predict import entries, models
from speed.predict.gpus import GPUS
from speed.predict.roofline import Constants, Load, product_seconds, seconds
from speed.predict.step_times import StepTime
from speed.tensors import tensors

GPU = GPUS["v100"]
# Assumed: seconds that a short operation takes where nothing hides its launch.
LAUNCH = 5e-6
# Entries whose steps stand for a model's.
REFERENCES = (
    ("jax", "baseline"),
    ("pytorch", "schedule_free_adamw"),
    ("pytorch", "shampoo"),
)
SHAMPOO = ("pytorch", "shampoo_submission", "schedule_free_adamw")
CASPR = ("jax", "caspr_adaptive", "baseline")
_LEAST_WORKLOADS = 3


class Range(NamedTuple):
    """A value and the interval that the data, or an assumption, leave it."""

    least: float
    middle: float
    most: float


class Calibration(NamedTuple):
    """What was found.

    Attributes:
      efficiency: see `Constants`; the middle is the geometric one.
      launch: see `Constants`; of the fit with every workload, the least of those with one left out,
        and what is assumed for operations that nothing hides.
      factorisation: see `Constants`; of the same fits.
      differences: rows of the fit, seconds: by how much Shampoo's steps take longer, `measured`,
        `fitted`, and `left_out`, fitted to the others.
      caspr_iterations: by workload, at the middle efficiency.
      references: rows of step times that models' steps are taken from, older logs first.
    """

    efficiency: Range
    launch: Range
    factorisation: Range
    differences: list[dict[str, Any]]
    caspr_iterations: dict[str, float]
    references: list[StepTime]


def calibrate(times: Sequence[StepTime]) -> Calibration:
    """From step times on V100s, those of older logs first.

    Raises:
        ValueError: the logs lack what is needed.
    """
    known = [row for row in times if row.workload in models.known()]
    references = [row for row in known if (row.framework, row.submission) in REFERENCES]
    if not references:
        raise ValueError(f"none of {', '.join(name for _, name in REFERENCES)} is in the logs")
    least = max(map(_explained, references))
    efficiency = Range(least, math.sqrt(least), 1.0)
    launch, factorisation, differences = _fit(known, efficiency.middle)
    constants = Constants(efficiency.middle, launch.middle, factorisation.middle)
    return Calibration(
        efficiency=efficiency,
        launch=launch,
        factorisation=factorisation,
        differences=differences,
        caspr_iterations=_caspr_iterations(known, constants),
        references=references,
    )


def _explained(row: StepTime) -> float:
    """Share of the peak at which the model's products alone would take the whole step."""
    batch = entries.ENTRIES[row.submission].batch(row.workload)
    flops = models.model(row.workload).flops * batch / row.devices
    return flops / (GPU.peak["fp32"] * row.seconds)


def _fit(times: Sequence[StepTime], efficiency: float) -> tuple[Range, Range, list[dict[str, Any]]]:
    """(seconds per launch, rate of factorisations, rows)."""
    framework, entry, base = SHAMPOO
    pairs = _pairs(times, SHAMPOO)
    if len(pairs) < _LEAST_WORKLOADS:
        raise ValueError(f"{entry} and {base} share {len(pairs)} workloads with equal batches")
    rest = Constants(efficiency, 0.0, math.inf)
    known, unknown = [], []
    for workload, _, devices in pairs:
        ours, theirs = (_load(name, workload, framework, devices) for name in (entry, base))
        known.append(seconds(ours, GPU, devices, rest) - seconds(theirs, GPU, devices, rest))
        unknown.append((ours.launches - theirs.launches, ours.factorised - theirs.factorised))
    measured = np.array([difference for _, difference, _ in pairs])
    matrix = np.array(unknown)
    solutions = _with_and_without(matrix, measured - known)
    rows = [
        {
            "workload": workload,
            "measured": difference,
            "fitted": float(known[row] + matrix[row] @ solutions[0]),
            "left_out": float(known[row] + matrix[row] @ solutions[row + 1]),
        }
        for row, (workload, difference, _) in enumerate(pairs)
    ]
    launches = [float(solution[0]) for solution in solutions]
    rates = [1 / float(solution[1]) if solution[1] else math.inf for solution in solutions]
    return (
        Range(min(launches), launches[0], max(LAUNCH, *launches)),
        Range(min(rates), rates[0], max(rates)),
        rows,
    )


def _with_and_without(matrix: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Non-negative least squares with every row, then with one row after another left out."""
    scale = np.abs(matrix).max(axis=0)
    chosen = [np.full(len(values), True)]
    chosen += [np.arange(len(values)) != row for row in range(len(values))]
    return [nnls(matrix[rows] / scale, values[rows])[0] / scale for rows in chosen]


def _load(name: str, workload: str, framework: str, devices: int) -> Load:
    return entries.ENTRIES[name].load(tensors(workload, framework), devices)


def _pairs(
    times: Sequence[StepTime], compared: tuple[str, str, str]
) -> list[tuple[str, float, int]]:
    """(workload, seconds of the first entry more than of the second, devices) where both are in
    the same logs and have the same batch."""
    framework, entry, base = compared
    by = {(row.logs, row.workload, row.framework, row.submission): row for row in times}
    return [
        (row.workload, row.seconds - other.seconds, row.devices)
        for row in times
        if (row.framework, row.submission) == (framework, entry)
        and (other := by.get((row.logs, row.workload, framework, base)))
        and entries.same_batch(entry, base, row.workload)
    ]


def _caspr_iterations(times: Sequence[StepTime], constants: Constants) -> dict[str, float]:
    """How many explain what CASPR Adaptive takes longer than NAdamW; 0 where nothing is left."""
    framework, _, base = CASPR
    found = {}
    for workload, difference, devices in _pairs(times, CASPR):
        shapes = tensors(workload, framework)
        without, one = (entries.caspr_adaptive(shapes, devices, count) for count in (0.0, 1.0))
        rest = (
            difference
            - seconds(without, GPU, devices, constants)
            + seconds(_load(base, workload, framework, devices), GPU, devices, constants)
        )
        each = product_seconds(one, GPU, constants, "fp32")
        each -= product_seconds(without, GPU, constants, "fp32")
        found[workload] = max(0.0, rest / each)
    return found
