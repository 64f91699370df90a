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
        space = fake_root / "tuning_search_spaces" / f"{name}.json"
        rates = [point["learning_rate"] for point in json.loads(space.read_text())]
        assert len(rates) == 5
        assert rates == sorted(rates, reverse=True)  # the best first
        assert str(space) in done.stdout


def test_too_few_points_for_a_search_space_are_refused_before_any_run(command, tmp_path):
    done = run(command("--num_trials=4", "--write_search_spaces"))
    assert done.returncode == 2
    assert done.stderr == "error: --write_search_spaces needs --num_trials >= 5, not 4\n"
    assert not (tmp_path / "experiments").exists()
