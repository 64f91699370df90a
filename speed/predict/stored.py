"""The calibration that is kept beside this module: constants and the step times behind them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, summary
from benchmark.log import read_json, write_text
from speed.predict import step_times
from speed.predict.calibrate import Calibration, Range, calibrate
from speed.predict.gpus import GPUS
from speed.predict.step_times import StepTime

PATH = Path(__file__).parent / "calibration.json"
_SOURCE = (
    "Step times of runs on 8 V100s: eval_measurements.csv of mlcommons/submissions_algorithms "
    "(Apache-2.0), previous_leaderboards, entries of external tuning. Written by "
    "scripts/predict.py --calibrate."
)


def from_logs(roots: Sequence[Path]) -> Calibration:
    """Of V100 log trees, older ones first.

    Raises:
        UserError: they are not what is needed.
    """
    names = [step_times.name_of(root) for root in roots]
    if len(set(names)) < len(names):
        raise UserError(f"the log trees' names must differ: {', '.join(names)}")
    times = [row for root in roots for row in step_times.read(root, GPUS["v100"])]
    try:
        return calibrate(times)
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, roots))}: {error}") from error


def write(calibration: Calibration, path: Path = PATH) -> None:
    """As JSON, one row a line."""
    lines = [f'  "source": {json.dumps(_SOURCE)}']
    for name, value in calibration._asdict().items():
        if isinstance(value, list):
            rows = ",\n".join(f"    {json.dumps(_rounded(row))}" for row in value)
            lines.append(f'  "{name}": [\n{rows}\n  ]')
        else:
            lines.append(f'  "{name}": {json.dumps(_rounded(value))}')
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read(path: Path = PATH) -> Calibration:
    """What `write` wrote.

    Raises:
        UserError: there is no such file, or it is another.
    """
    try:
        data = read_json(path)
        if data is None:
            raise UserError(f"{path}: no such file")
        return _read(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a calibration ({summary(error)})") from error


def _read(data: Any) -> Calibration:
    return Calibration(
        efficiency=Range(**data["efficiency"]),
        launch=Range(**data["launch"]),
        factorisation=Range(**data["factorisation"]),
        differences=data["differences"],
        caspr_iterations=data["caspr_iterations"],
        references=[StepTime(**row) for row in data["references"]],
    )


def _rounded(row: Any) -> dict[str, Any]:
    """Numbers to six digits: two machines' last ones differ, and none means more."""
    values = row if isinstance(row, dict) else row._asdict()
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
        for name, value in values.items()
    }
