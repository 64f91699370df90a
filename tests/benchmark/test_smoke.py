"""Shrinking a workload: what changes, what does not, and what becomes of such a run."""

import json
import subprocess
import sys

import numpy as np
import pytest
import workload_cases
from fakes.quadratic import QuadraticWorkload

from benchmark import smoke, submission
from benchmark.errors import UserError
from benchmark.plan import Options, plan
from workloads_overrides import FRAMEWORKS, import_workload

ROOT = submission.REPOSITORY


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_object_has_fewer_rows_and_the_class_stays(framework):
    workload = import_workload("c4_small", framework)
    before = workload.model_config
    smoke.shrink(workload, "c4_small", 8, 3)
    assert workload.num_train_examples == 24
    assert workload.eval_batch_size == 8
    splits = ("eval_train", "validation", "test")
    assert [getattr(workload, f"num_{split}_examples") for split in splits] == [8, 8, 8]
    assert workload.model_config == before
    hash(workload)  # JAX takes it as a static argument

    fresh = import_workload("c4_small", framework)
    assert fresh.num_train_examples == 32_768
    assert fresh.eval_batch_size == 32


def test_the_rows_are_those_that_the_whole_workload_begins_with():
    folder = workload_cases.data_dir("c4_small")
    workload, whole = import_workload("c4_small", "jax"), import_workload("c4_small", "jax")
    smoke.shrink(workload, "c4_small", 8, 2)
    first = next(workload._build_input_queue(np.array([1, 2]), "validation", folder, 8))
    wanted = next(whole._build_input_queue(np.array([1, 2]), "validation", folder, 8))
    np.testing.assert_array_equal(first["inputs"], wanted["inputs"])
    batches = workload._build_input_queue(np.array([1, 2]), "train", folder, 8)
    seen = {tuple(row) for _ in range(2) for row in np.asarray(next(batches)["inputs"])}
    again = {tuple(row) for _ in range(2) for row in np.asarray(next(batches)["inputs"])}
    assert seen == again  # an epoch is two batches
    assert len(seen) == 16


def test_the_rows_that_are_asked_of_prepared_data(tmp_path):
    asked = options(tmp_path)
    assert asked.data_rows == {"train": 8, "validation": 4, "test": 4}
    whole = options(tmp_path, smoke_batch_size=None)
    assert whole.data_rows is None
    workload = import_workload("c4_small", "pytorch")
    smoke.shrink(workload, "c4_small", 4, 2)
    counts = {split: getattr(workload, f"num_{split}_examples") for split in asked.data_rows}
    assert counts == asked.data_rows


def test_a_workload_without_such_rows_is_refused():
    with pytest.raises(UserError, match="--smoke_batch_size=8: not for --workload=quadratic; all"):
        smoke.shrink(QuadraticWorkload(), "quadratic", 8, 2)


def test_the_batch_size_is_the_given_one_for_every_name():
    known = submission.load("submissions/asgo/jax/submission.py", "jax", ROOT)
    shrunk = smoke.with_batch_size(known, 6)
    assert shrunk.global_batch_size("c4_350m") == shrunk.global_batch_size("unheard_of") == 6
    assert known.global_batch_size("c4_350m") == 512
    assert shrunk.update_params is known.update_params


def options(tmp_path, **changes):
    values = {
        "workload": "c4_small",
        "framework": "pytorch",
        "submission_path": "submissions/adamw/pytorch/submission.py",
        "experiment_dir": str(tmp_path),
        "experiment_name": "e",
        "tuning_search_space": str(ROOT / "tuning_search_spaces" / "adamw.json"),
        "data_dir": workload_cases.data_dir("c4_small"),
        "rng_seed": 4,
        "max_global_steps": 2,
        "smoke_batch_size": 4,
    }
    return Options(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_global_steps": None}, "--smoke_batch_size=4 needs --max_global_steps"),
        ({"smoke_batch_size": 0}, "--smoke_batch_size=0; allowed: >= 1"),
        ({"workload": "ogbg_small"}, "not for --workload=ogbg_small; allowed: c4_small and"),
    ],
)
def test_mistakes(tmp_path, changes, told):
    with pytest.raises(UserError) as caught:
        plan(options(tmp_path, **changes), ROOT)
    assert told in str(caught.value)


def test_a_run_says_that_it_is_one_and_a_whole_run_does_not_take_its_place(tmp_path):
    asked = options(tmp_path)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "run.py"), "--progress=none", *asked.arguments()],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (trial,) = plan(asked, ROOT).trials
    assert json.loads((trial.folder / "flags_0.json").read_text())["smoke_batch_size"] == 4
    meta = json.loads((trial.folder / "meta_data_0.json").read_text())
    assert meta["global_batch_size"] == meta["workload.eval_batch_size"] == 4
    result = json.loads((trial.folder / "result.json").read_text())
    assert result["global_step"] == 2
    assert 50 * 2**20 < result["peak_memory_bytes"] < 8 * 2**30
    assert "memory used at most: " in (trial.folder / "run.log").read_text()

    score = [sys.executable, str(ROOT / "scripts" / "score.py")]
    (tmp_path / "adamw").mkdir()
    (tmp_path / "e").rename(tmp_path / "adamw" / "study_0")
    scored = subprocess.run(
        [*score, f"--submission_directory={tmp_path}"], capture_output=True, text=True
    )
    assert scored.returncode == 2
    assert "all runs were made with --smoke_batch_size: nothing to score" in scored.stderr
