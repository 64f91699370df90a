"""Seconds per step out of logs."""

import json
from pathlib import Path

import pytest

from benchmark.errors import UserError
from speed.predict.gpus import GPUS
from speed.predict.step_times import name_of, read

META = {"gpu_model_name": "Tesla V100-SXM2-16GB", "gpu_count": 8}


def write(root: Path, rows: list[tuple[float, int]], trial: int = 1, **meta) -> None:
    folder = root / "entry" / "study_0" / "wmt_jax" / f"trial_{trial}"
    folder.mkdir(parents=True)
    lines = ["accumulated_submission_time,global_step,validation/bleu"]
    lines += [f"{seconds},{step},1.0" for seconds, step in rows]
    (folder / "eval_measurements.csv").write_text("\n".join(lines) + "\n")
    if meta is not None and trial == 1:
        (folder / "meta_data_0.json").write_text(json.dumps(META | meta))


def test_the_first_interval_is_left_out_and_the_others_are_weighted_by_steps(tmp_path: Path):
    # 10 s with compilation; 100 steps of 0.1 s; 10 steps of 1 s, a stall; 100 steps of 0.12 s.
    write(tmp_path, [(5, 1), (15, 11), (25, 111), (35, 121), (47, 221)])
    (row,) = read(tmp_path, GPUS["v100"])
    assert (row.submission, row.workload, row.framework) == ("entry", "wmt", "jax")
    assert row.seconds == pytest.approx(0.12)
    assert row.mean == pytest.approx(32 / 210)
    assert (row.gpu, row.devices, row.trials) == (META["gpu_model_name"], 8, 1)


def test_the_median_is_over_trials_and_the_extremes_are_kept(tmp_path: Path):
    for trial, pace in enumerate((0.3, 0.1, 0.2), 1):
        write(tmp_path, [(0, 1), (9, 11), (9 + 10 * pace, 21), (9 + 20 * pace, 31)], trial)
    (row,) = read(tmp_path, GPUS["v100"])
    assert row.seconds == pytest.approx(0.2)
    assert (row.low, row.high) == pytest.approx((0.1, 0.3))
    assert row.trials == 3


def test_trials_with_too_few_evaluations_do_not_count(tmp_path: Path):
    write(tmp_path, [(0, 1), (9, 11), (10, 21)])
    write(tmp_path, [(0, 1), (9, 11)], 2)
    (row,) = read(tmp_path, GPUS["v100"])
    assert row.trials == 1


def test_a_resumed_run_that_repeats_a_step_loses_that_row(tmp_path: Path):
    write(tmp_path, [(0, 1), (5, 11), (6, 21), (30, 21), (31, 31)])
    (row,) = read(tmp_path, GPUS["v100"])
    assert row.seconds == pytest.approx(0.1)


def test_bad_trees_are_told_in_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder of logs"):
        read(tmp_path / "absent", GPUS["v100"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no trial with 3 evaluations"):
        read(tmp_path / "empty", GPUS["v100"])
    rows: list[tuple[float, int]] = [(0, 1), (9, 11), (10, 21)]
    write(tmp_path / "other", rows, gpu_model_name="Imagined")
    with pytest.raises(UserError, match="its logs are of Imagined, not of V100-SXM2-16GB"):
        read(tmp_path / "other", GPUS["v100"])
    write(tmp_path / "mixed", rows)
    second = tmp_path / "mixed" / "entry" / "study_0" / "wmt_jax" / "trial_2"
    second.mkdir()
    (second / "meta_data_0.json").write_text(json.dumps(META | {"gpu_count": 4}))
    with pytest.raises(UserError, match="one kind of machine is needed"):
        read(tmp_path / "mixed", GPUS["v100"])


def test_a_tree_called_logs_is_named_after_the_folder_above(tmp_path: Path):
    assert name_of(tmp_path / "v1" / "logs") == "v1"
    assert name_of(tmp_path / "v1") == "v1"
