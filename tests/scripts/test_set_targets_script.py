"""scripts/set_targets.py: what it writes and where."""

import json
import subprocess

import pytest
from fakes import repository
from fakes.repository import SUBMISSION


@pytest.fixture
def command(fake_root, tmp_path):
    for name in ("adamw", "nadamw"):
        folder = fake_root / "submissions" / name / "jax"
        folder.mkdir(parents=True)
        (folder / "submission.py").write_text(SUBMISSION)
        points = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
        (fake_root / "tuning_search_spaces" / f"{name}.json").write_text(json.dumps(points))
    space = {"learning_rate": {"min": 0.01, "max": 0.06, "scaling": "log"}}
    (fake_root / "space.json").write_text(json.dumps(space))

    def build(*flags: str) -> list[str]:
        return [
            *repository.script(fake_root, "set_targets"),
            "--workload=quadratic",
            f"--experiment_dir={tmp_path}/experiments",
            f"--data_dir={fake_root}/data",
            f"--tuning_search_space={fake_root}/space.json",
            "--num_seeds=1",
            "--step_hint=8",
            "--eval_every_steps=2",
            f"--output={tmp_path}/targets.json",
            *flags,
        ]

    return build


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def test_writes_targets_and_search_spaces(command, fake_root, tmp_path):
    done = run(command("--num_trials=5", "--write_search_spaces"))
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "targets.json").read_text())
    assert content["status"] == "measured"
    assert f"validation_target_value: {content['validation_target_value']}" in done.stdout
    assert content["provenance"]["command"].startswith("python scripts/set_targets.py --workload=")
    for name in ("adamw", "nadamw"):
        searched = [run["hyperparameters"] for run in content["provenance"]["search"][name]]
        best = max(searched, key=lambda point: point["learning_rate"])  # true of this workload
        space = fake_root / "tuning_search_spaces" / f"{name}.json"
        assert json.loads(space.read_text()) == [best, {"learning_rate": 0.2}]
        assert str(space) in done.stdout
        measured = fake_root / "tuning_search_spaces" / "measured" / "quadratic" / f"{name}.json"
        record = json.loads(measured.read_text())
        assert record["search"] == content["provenance"]["search"][name]
        assert record["command"] == content["provenance"]["command"]


def test_a_list_that_the_best_point_cannot_join_is_refused_before_any_run(
    command, fake_root, tmp_path
):
    space = fake_root / "tuning_search_spaces" / "nadamw.json"
    space.write_text(json.dumps([{"learning_rate": 0.1, "weight_decay": 0.0}]))
    done = run(command("--write_search_spaces"))
    assert done.returncode == 2
    assert done.stderr == f"error: {space}: needs points of learning_rate, to put one first\n"
    assert not (tmp_path / "experiments").exists()


def test_targets_of_a_shrunk_workload_never_become_the_workloads_own(command):
    flags = [flag for flag in command("--smoke_batch_size=8") if not flag.startswith("--output=")]
    done = run(flags)
    assert done.returncode == 2
    told = "error: --smoke_batch_size measures no targets of the workload: give --output\n"
    assert done.stderr == told
    done = run(command("--smoke_batch_size=8", "--num_trials=1"))
    assert done.returncode == 2
    assert "--smoke_batch_size=8: not for --workload=quadratic" in done.stderr
