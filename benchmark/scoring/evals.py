"""Reads the evaluations that trials logged, `eval_measurements.csv`.

Nothing that is wrong with a file stops the rest: rows that cannot be read are left out, with a
finding that names the file and the row (the line in the file; the header is row 1).
"""

import csv
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import FILE, KEYS, TrialDir
from benchmark.scoring.targets import Target

STEP, TIME, COMPILE_TIME = "global_step", "score", "accumulated_compile_time"
COLUMNS = ["row", "step", "time", "compile_time", "value"]

_WRONG_LENGTH = "wrong number of cells; row ignored"
_NO_NUMBER = "a cell is not a number; row ignored"
_NOT_FINITE = f"{STEP} or {TIME} is not finite; row ignored"
_NO_TIME = f"{TIME} is not above zero; row ignored"
_HEADER_AGAIN = "the header again; row ignored"
_REPEATED = "repeats an earlier row; row ignored"
_GOES_BACK = "step or time goes back; row kept"
_NO_VALUE = "the metric is not finite; it meets no target"
_KEPT = {_GOES_BACK, _NO_VALUE}
_NOTHING = np.empty((0, len(COLUMNS)))

Evaluation = tuple[float, float, float, float, float]


def read_evals(
    trials: Iterable[TrialDir], targets: Mapping[str, Target], root: Path, findings: Findings
) -> pd.DataFrame:
    """One row per evaluation, in the order of the files: KEYS and six float64 columns.

    `row`: which of the file's rows, from 0. `step`; `time`, the accumulated submission time in
    seconds; both finite. `compile_time`, seconds of it spent compiling, NaN if not logged. `value`,
    the workload's validation metric; `margin`, how far it is beyond the target: met where >= 0, NaN
    where the value is not finite.
    """
    read, parts = [], []
    missing: dict[tuple[str, str], list[str]] = {}
    for where in trials:
        if _is_missing(where.path / FILE):
            entry = missing.setdefault((where.submission, where.workload), [])
            entry.append(str(where.path.relative_to(root)))
            continue
        part = read_file(where.path / FILE, targets[where.workload].column, root, findings)
        if len(part):
            read.append(where)
            parts.append(part)
    for (submission, workload), names in missing.items():
        more = f" and {len(names) - 1} more of {submission}, {workload}" if len(names) > 1 else ""
        findings.leave_out(f"{names[0]}{more}: no {FILE}; counts as absent")
    lengths = [len(part) for part in parts]
    evals = pd.DataFrame(np.concatenate([_NOTHING, *parts]), columns=COLUMNS)
    for place, key in enumerate(KEYS):
        names = [getattr(where, key) for where in read]
        # Categories: one text per trial instead of one per evaluation.
        column = np.array(names, int) if key in ("study", "trial") else pd.Categorical(names)
        evals.insert(place, key, column.repeat(lengths))
    target_of = [targets[where.workload] for where in read]
    goal = np.repeat(np.array([target.value for target in target_of], float), lengths)
    sign = np.repeat(np.array([target.sign for target in target_of], float), lengths)
    value = evals["value"].to_numpy()
    return evals.assign(margin=np.where(np.isfinite(value), sign * (value - goal), math.nan))


def _is_missing(path: Path) -> bool:
    """Not there; there and unreadable is another matter."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def read_file(path: Path, metric: str, root: Path, findings: Findings) -> np.ndarray:
    """The rows of one file that can be read: (rows, 5), COLUMNS of each."""
    name = str(path.relative_to(root))
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            findings.leave_out(f"{name}: not a file; the trial counts as absent")
            return _NOTHING
        # Some editors put a byte order mark in front.
        text = path.read_text(encoding="utf-8", errors="replace").removeprefix("\ufeff")
    except OSError as error:
        findings.leave_out(f"{name}: {error.strerror}; the trial counts as absent")
        return _NOTHING
    lines = text.removesuffix("\n").split("\n") if text else []
    if text and not text.endswith("\n"):
        # Its last number may have lost digits, which could fake a target that was never met.
        findings.leave_out(f"{name}: row {len(lines)} has no line end (cut off?); row ignored")
        lines.pop()

    split = _splitter(text)
    header = split(lines[0]) if lines else []
    missing = [column for column in (STEP, TIME, metric) if column not in header]
    if missing or not any(lines[1:]):
        what = f"no column {' and no column '.join(missing)}" if missing else "no rows"
        findings.leave_out(f"{name}: {what}; the trial counts as absent")
        return _NOTHING

    if (clean := _all_at_once(lines, header, metric)) is not None:
        return clean
    evaluations, problems = _evaluations(lines, split, header, metric)
    for problem, rows in problems.items():
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        tell = findings.note if problem in _KEPT else findings.leave_out
        tell(f"{name}: row {rows[0]}{more}: {problem}")
    return np.array(evaluations) if evaluations else _NOTHING


def _all_at_once(lines: list[str], header: list[str], metric: str) -> np.ndarray | None:
    """What `_evaluations` gives for a file without any problem, without a loop over rows; None if
    there may be one."""
    width = len(header)
    body = ",".join(lines[1:])
    # NumPy takes nan(1) for a number.
    if "" in lines or '"' in body or "(" in body or len(set(lines)) < len(lines):
        return None
    if {line.count(",") for line in lines[1:]} != {width - 1}:
        return None
    try:
        with warnings.catch_warnings(action="error"):  # older NumPy warns and stops half-way
            numbers = np.fromstring(body, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    if len(numbers) != width * (len(lines) - 1):
        return None
    table = numbers.reshape(-1, width)
    step, time, value = (table[:, header.index(column)] for column in (STEP, TIME, metric))
    # Of what is not finite a comparison is false.
    in_order = np.all(step[1:] >= step[:-1]) and np.all(time[1:] >= time[:-1]) and time[0] > 0
    if not (in_order and np.isfinite(step + time + value).all()):
        return None
    compiled = COMPILE_TIME in header
    compile_time = table[:, header.index(COMPILE_TIME)] if compiled else np.full(len(table), np.nan)
    return np.stack([np.arange(len(table)), step, time, compile_time, value], axis=1)


def _evaluations(
    lines: list[str], split: Callable[[str], list[str]], header: list[str], metric: str
) -> tuple[list[Evaluation], dict[str, list[int]]]:
    """The evaluations, and by problem the rows that have it."""
    width = len(header)
    places = [header.index(column) for column in (STEP, TIME, metric)]
    places.append(header.index(COMPILE_TIME) if COMPILE_TIME in header else width)
    evaluations: list[Evaluation] = []
    problems: dict[str, list[int]] = {}
    seen = {lines[0]: _HEADER_AGAIN}
    row, latest = -1, (-math.inf, -math.inf)
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        row += 1
        # Not pandas.read_csv: of a row of the wrong length it shifts or drops cells without saying
        # which row it was.
        cells = split(line)
        if line in seen:
            problem = seen[line]
        elif len(cells) != width:
            problem = _WRONG_LENGTH
        else:
            seen[line] = _REPEATED
            cells.append("")  # the compile time of files without it
            problem, (step, time, value, compile_time) = _numbers(line, cells, places)
            if not problem:
                evaluations.append((row, step, time, compile_time, value))
                problem = _oddity(step, time, value, latest)
                latest = (step, time)
        if problem:
            problems.setdefault(problem, []).append(number)
    return evaluations, problems


def _numbers(line: str, cells: list[str], places: list[int]) -> tuple[str, list[float]]:
    """What is wrong with a row, and its numbers: step, time, value and compile time."""
    # Python's float knows more numbers than csv files do: 1_000, and digits of other scripts.
    if not line.isascii() or "_" in line:
        cells = [cell if cell.isascii() and "_" not in cell else "not a number" for cell in cells]
    try:
        numbers = [float(cells[place] or "nan") for place in places]
    except ValueError:
        return _NO_NUMBER, [math.nan] * len(places)
    if not (math.isfinite(numbers[0]) and math.isfinite(numbers[1])):
        return _NOT_FINITE, numbers
    return "" if numbers[1] > 0 else _NO_TIME, numbers


def _oddity(step: float, time: float, value: float, latest: tuple[float, float]) -> str:
    if step < latest[0] or time < latest[1]:
        return _GOES_BACK
    return "" if math.isfinite(value) else _NO_VALUE


def _splitter(text: str) -> Callable[[str], list[str]]:
    """Cells of one line. Line by line, as an unclosed quote would swallow all lines after it; with
    the csv reader only where there is a quote, as splitting is faster."""
    if '"' not in text:
        return lambda line: line.split(",")
    return _quoted_cells


def _quoted_cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # a cell longer than csv.field_size_limit()
        return line.split(",")
