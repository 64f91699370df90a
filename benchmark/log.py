"""Log files in AlgoPerf's format, replaced whole, so that a killed process leaves no torn row."""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` as UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` in one step: readers, and a later run, see the old content or the new."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds, None if there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


class MetricsLogger:
    """AlgoPerf's metrics logger: `measurements.csv` holds every row, `eval_measurements.csv` those
    of evaluations. A submission finds it as `workload.metrics_logger`.
    """

    def __init__(self, folder: Path) -> None:
        self._all = _Table(folder / "measurements.csv")
        self._evaluations = _Table(folder / "eval_measurements.csv")
        self._latest: dict[str, Any] = {}

    def append_scalar_metrics(
        self,
        metrics: Mapping[str, Any],
        global_step: int,
        preemption_count: int | None = None,
        is_eval: bool = False,
    ) -> None:
        """Adds one row. Values are scalars of Python, NumPy, JAX or PyTorch; the files are on disk
        when this returns. Columns are AlgoPerf's: sorted at first, later ones added at the end.
        """
        row = {name: _plain(value) for name, value in metrics.items()}
        row["global_step"] = int(global_step)
        if preemption_count is not None:
            row["preemption_count"] = int(preemption_count)
        self._latest.update(row)
        self._all.append(row)
        if is_eval:
            self._evaluations.append(row)

    def latest(self, name: str) -> Any:
        """The last value logged under `name`, or None."""
        return self._latest.get(name)


def _plain(value: Any) -> Any:
    """A Python scalar: 0-d arrays of every library have `item`."""
    return value.item() if hasattr(value, "item") else value


class _Table:
    """A csv file that grows by rows and, rarely, by columns. Rendered rows are kept, so that
    appending costs one write of the file and no parsing: a submission's logging is on the clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._lines: list[str] = []

    def append(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        new = sorted(row.keys() - set(self._columns))
        if new:
            self._columns += new
            self._lines = [self._render(dict(zip(self._columns, self._columns, strict=True)))]
            self._lines += [self._render(old) for old in self._rows]
        else:
            self._lines.append(self._render(row))
        write_text(self._path, "".join(self._lines))

    def _render(self, row: dict[str, Any]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow(row.get(name) for name in self._columns)
        return buffer.getvalue()
