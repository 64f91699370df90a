"""Reads the evaluations that trials logged, `eval_measurements.csv`.

Nothing that is wrong with a file stops the rest: rows that cannot be read are left out, with a
warning that names the file and the row (the line in the file; the header is row 1).
"""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.scoring.logs import KEYS, TrialDir
from benchmark.scoring.targets import Target

FILE = "eval_measurements.csv"
STEP, TIME, COMPILE_TIME = "global_step", "score", "accumulated_compile_time"
_TOO_MANY_CELLS = "\0too many cells"

Evaluation = tuple[float, float, float, float]


def read_evals(
    trials: Iterable[TrialDir], targets: Mapping[str, Target], root: Path, warnings: list[str]
) -> pd.DataFrame:
    """One row per evaluation, in the order of the files: KEYS and five float64 columns.

    `step`; `time`, the accumulated submission time in seconds; both finite. `compile_time`, seconds
    of it spent compiling, NaN if not logged. `value`, the workload's validation metric; `margin`,
    how far it is beyond the target: met where >= 0, NaN where the value is not finite.
    """
    rows = [
        (*(getattr(where, key) for key in KEYS), *evaluation)
        for where in trials
        for evaluation in _read_file(where, targets[where.workload].column, root, warnings)
    ]
    evals = pd.DataFrame(rows, columns=[*KEYS, "step", "time", "compile_time", "value"])
    evals = evals.astype(dict.fromkeys(["step", "time", "compile_time", "value"], float))
    value = evals["value"].to_numpy()
    goal = np.array([targets[name].value for name in evals["workload"]])
    sign = np.array([targets[name].sign for name in evals["workload"]])
    return evals.assign(margin=np.where(np.isfinite(value), sign * (value - goal), math.nan))


def _read_file(where: TrialDir, metric: str, root: Path, warnings: list[str]) -> list[Evaluation]:
    path = where.path / FILE
    name = str(path.relative_to(root))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        warnings.append(f"{name}: {error.strerror}; the trial counts as not reached")
        return []
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        # Its last number may have lost digits, which could fake a target that was never met.
        warnings.append(f"{name}: row {len(lines)} has no line end (cut off?); row ignored")
        lines.pop()

    # Not pandas.read_csv: of a row of the wrong length it shifts or drops cells without saying
    # which row it was.
    reader = csv.DictReader(lines, restkey=_TOO_MANY_CELLS)
    header = reader.fieldnames or ()
    missing = [column for column in (STEP, TIME, metric) if column not in header]
    if missing or len(lines) < 2:
        what = f"no column {' and no column '.join(missing)}" if missing else "no rows"
        warnings.append(f"{name}: {what}; the trial counts as not reached")
        return []

    evaluations: list[Evaluation] = []
    problems: dict[str, list[int]] = {}
    for row in reader:
        evaluation, problem = _evaluation(row, metric)
        if evaluation:
            before = evaluations[-1] if evaluations else evaluation
            if evaluation[0] < before[0] or evaluation[1] < before[1]:
                problem = "step or time goes back; row kept"
            evaluations.append(evaluation)
        if problem:
            problems.setdefault(problem, []).append(reader.line_num)
    for problem, numbers in problems.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        warnings.append(f"{name}: row {numbers[0]}{more}: {problem}")
    return evaluations


def _evaluation(row: dict[str, str], metric: str) -> tuple[Evaluation | None, str]:
    """The numbers of one row, or why there are none."""
    if _TOO_MANY_CELLS in row or None in row.values():
        return None, "wrong number of cells; row ignored"
    cells = row[STEP], row[TIME], row.get(COMPILE_TIME), row[metric]
    try:
        step, time, compile_time, value = (float(cell or "nan") for cell in cells)
    except ValueError:
        return None, "a cell is not a number; row ignored"
    if not (math.isfinite(step) and math.isfinite(time)):
        return None, f"{STEP} or {TIME} is not finite; row ignored"
    return (step, time, compile_time, value), ""
