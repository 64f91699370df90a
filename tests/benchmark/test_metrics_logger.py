"""AlgoPerf's csv files: columns, values, and that no moment shows half a row."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import log
from benchmark.log import MetricsLogger

ROOT = Path(log.__file__).parent.parent


@pytest.fixture
def logger(tmp_path):
    return MetricsLogger(tmp_path)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_columns_are_sorted_at_first_and_later_ones_come_after(logger, tmp_path):
    logger.append_scalar_metrics({"loss": 2.0, "accuracy": 0.5}, 1)
    logger.append_scalar_metrics({"loss": 1.0, "zeta": 3, "extra": 4}, 2, preemption_count=0)
    assert lines_of(tmp_path / "measurements.csv") == [
        "accuracy,global_step,loss,extra,preemption_count,zeta",
        "0.5,1,2.0,,,",
        ",2,1.0,4,0,3",
    ]


def test_only_evaluations_are_in_the_second_file(logger, tmp_path):
    logger.append_scalar_metrics({"loss": 2.0}, 1)
    assert not (tmp_path / "eval_measurements.csv").exists()
    logger.append_scalar_metrics({"score": 1.5}, 1, preemption_count=0, is_eval=True)
    logger.append_scalar_metrics({"score": 2.5}, 9, preemption_count=0, is_eval=True)
    evaluations = pd.read_csv(tmp_path / "eval_measurements.csv")
    assert evaluations.to_dict("list") == {
        "global_step": [1, 9],
        "preemption_count": [0, 0],
        "score": [1.5, 2.5],
    }
    assert len(pd.read_csv(tmp_path / "measurements.csv")) == 3


@pytest.mark.parametrize(
    "value", [0.25, np.float32(0.25), np.array(0.25), jnp.float32(0.25), torch.tensor(0.25)]
)
def test_scalars_of_every_library_are_written_as_numbers(logger, tmp_path, value):
    logger.append_scalar_metrics({"loss": value}, 1)
    assert lines_of(tmp_path / "measurements.csv")[1] == "1,0.25"
    assert logger.latest("loss") == 0.25


def test_numbers_come_back_exactly(logger, tmp_path):
    values = [1 / 3, 1e-300, 123456789.123456789, float("nan"), float("inf")]
    for step, value in enumerate(values):
        logger.append_scalar_metrics({"x": value}, step)
    with open(tmp_path / "measurements.csv", newline="") as file:
        read = [float(row["x"]) for row in csv.DictReader(file)]
    np.testing.assert_array_equal(read, values)


def test_the_callers_mapping_is_left_alone(logger):
    metrics = {"loss": 1.0}
    logger.append_scalar_metrics(metrics, 1, preemption_count=0)
    assert metrics == {"loss": 1.0}


def test_latest_is_none_before_anything_is_logged(logger):
    assert logger.latest("loss") is None


WRITER = """
import sys
from pathlib import Path
from benchmark.log import MetricsLogger
logger = MetricsLogger(Path(sys.argv[1]))
for step in range(10**9):
    metrics = {f"a_rather_long_name_{i}": step + i / 7 for i in range(40)}
    logger.append_scalar_metrics(metrics, step, preemption_count=0, is_eval=True)
"""


def test_kill_9_leaves_whole_rows(tmp_path):
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], cwd=ROOT)
        path = folder / "eval_measurements.csv"
        deadline = time.monotonic() + 300
        while not path.exists() or len(lines_of(path)) < 20 + 7 * attempt:
            assert time.monotonic() < deadline
        writer.kill()
        writer.wait()
        for name in ("measurements.csv", "eval_measurements.csv"):
            text = (folder / name).read_text()
            assert text.endswith("\n")
            rows = text.splitlines()
            assert {row.count(",") for row in rows} == {41}
            steps = pd.read_csv(folder / name)["global_step"]
            assert steps.tolist() == list(range(len(rows) - 1))


def test_write_replaces_and_leaves_no_temporary_file(tmp_path):
    log.write_json(tmp_path / "a.json", {"x": 1})
    log.write_json(tmp_path / "a.json", {"x": [2, None]})
    assert log.read_json(tmp_path / "a.json") == {"x": [2, None]}
    assert log.read_json(tmp_path / "b.json") is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_logging_a_row_renders_only_that_row(logger, monkeypatch):
    """A submission's logging is on the clock: rows that are there are not rendered again."""
    rendered = []
    render = log._Table._render
    monkeypatch.setattr(
        log._Table, "_render", lambda table, row: rendered.append(row) or render(table, row)
    )
    for step in range(1000):
        logger.append_scalar_metrics({"loss": 1.0, "grad_norm": 2.0}, step)
    assert len(rendered) == 1001  # and the line of names
