"""scripts/tune.py: what it writes and what it refuses."""

import json
import subprocess

import pytest
from fakes import repository
from fakes.repository import SUBMISSION

from benchmark import search_space

RANGES = {"learning_rate": {"min": 0.01, "max": 0.06, "scaling": "log"}}


@pytest.fixture
def tune(fake_root, tmp_path):
    folder = fake_root / "submissions" / "mine" / "jax"
    folder.mkdir(parents=True)
    (folder / "submission.py").write_text(SUBMISSION)
    spaces = fake_root / "tuning_search_spaces"
    (spaces / "ranges").mkdir()
    (spaces / "ranges" / "mine.json").write_text(json.dumps(RANGES))
    points = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    (spaces / "mine.json").write_text(json.dumps(points))

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [
            *repository.script(fake_root, "tune"),
            "--workload=quadratic",
            f"--experiment_dir={tmp_path}/experiments",
            f"--data_dir={fake_root}/data",
            "--num_trials=3",
            "--step_hint=8",
            "--eval_every_steps=2",
            *flags,
        ]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_puts_the_best_point_first_and_writes_every_run_down(tune, fake_root, tmp_path):
    done = tune("--submissions=mine")
    assert done.returncode == 0, done.stderr
    spaces = fake_root / "tuning_search_spaces"
    tried = search_space.load(spaces / "ranges" / "mine.json", 3)
    best = max(tried, key=lambda point: point["learning_rate"])  # true of this workload
    assert json.loads((spaces / "mine.json").read_text()) == [best, {"learning_rate": 0.2}]

    record = json.loads((spaces / "measured" / "quadratic" / "mine.json").read_text())
    assert record["workload"] == "quadratic"
    assert record["command"].startswith("python scripts/tune.py --workload=quadratic")
    assert record["tuning_search_space"] == "tuning_search_spaces/ranges/mine.json"
    assert record["horizon_of_search_and_repeats"] == 6
    values = [run["best_validation"] for run in record["search"]]
    assert len(values) == 3
    assert values == sorted(values) or values == sorted(values, reverse=True)
    assert record["search"][0]["hyperparameters"] == best
    assert all(run["steps"] == 6 for run in record["search"])
    assert f"mine: {values[0]:.4f}" in done.stdout

    assert f"first in its list now {best}" in done.stdout

    again = tune("--submissions=mine")
    assert again.returncode == 0
    assert (again.stdout + again.stderr).count("finished before and kept") == 3


def test_a_submission_without_ranges_is_refused(tune, tmp_path):
    done = tune("--submissions=mine,other")
    assert done.returncode == 2
    assert done.stderr == "error: 'other' has no ranges to tune over; allowed: mine\n"
    assert not (tmp_path / "experiments").exists()


def test_a_list_that_the_best_point_cannot_join_is_refused_before_any_run(
    tune, fake_root, tmp_path
):
    space = fake_root / "tuning_search_spaces" / "mine.json"
    space.write_text(json.dumps([{"weight_decay": 0.1}]))
    done = tune("--submissions=mine")
    assert done.returncode == 2
    assert done.stderr == f"error: {space}: needs points of learning_rate, to put one first\n"
    assert not (tmp_path / "experiments").exists()


def test_searches_on_other_workloads_have_their_say(tune, fake_root):
    spaces = fake_root / "tuning_search_spaces"
    tried = search_space.load(spaces / "ranges" / "mine.json", 3)
    by_rate = sorted(tried, key=lambda point: point["learning_rate"])
    # On two other workloads the middle point is best and the one that wins here is worst.
    search = [
        {"hyperparameters": point, "best_validation": value}
        for point, value in zip(by_rate, (0.5, 0.9, None), strict=True)
    ]
    for workload in ("first", "second"):
        folder = spaces / "measured" / workload
        folder.mkdir(parents=True)
        record = {"metric": "accuracy", "search": search}
        (folder / "mine.json").write_text(json.dumps(record))
    done = tune("--submissions=mine")
    assert done.returncode == 0, done.stderr
    assert json.loads((spaces / "mine.json").read_text())[0] == by_rate[1]
