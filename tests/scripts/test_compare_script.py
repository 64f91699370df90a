"""scripts/compare.py as a user runs it: table and report, Ctrl-C, kill -9, failures."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from fakes import repository

SLOW = '[{"learning_rate": 0.001, "delay": 0.02}]'


@pytest.fixture
def command(fake_root, tmp_path):
    def build(*flags: str) -> list[str]:
        return [
            *repository.script(fake_root, "compare", max_allowed_runtime_sec=50),
            "--submissions=all",
            "--workloads=quadratic",
            "--framework=jax",
            f"--experiment_dir={tmp_path}/experiments",
            "--experiment_name=race",
            f"--data_dir={fake_root}/data",
            "--eval_every_steps=5",
            *flags,
        ]

    return build


@pytest.fixture
def race(tmp_path) -> Path:
    return tmp_path / "experiments" / "race"


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def test_the_table_and_the_report_then_everything_kept(command, race):
    done = run(command())
    assert done.returncode == 0, done.stderr
    for part in ("2 runs, logs in", "fast: targets_reached at step", "slow: targets_reached at"):
        assert part in done.stdout
    report = race / "report"
    written = [path for path in report.rglob("*") if path.is_file()]
    assert [path for path in written if path.suffix == ".html"]
    assert [path for path in written if path.suffix == ".png"]
    assert str(report) in done.stdout
    results = {path: path.stat().st_mtime_ns for path in race.rglob("result.json")}
    assert len(results) == 2

    again = run(command())
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before and kept") == 2
    assert results == {path: path.stat().st_mtime_ns for path in race.rglob("result.json")}


def test_a_failed_run_is_status_1_and_the_others_are_scored(command, race, fake_root):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"learning_rate": 0.1, "fail_at": 7}]')
    done = run(command())
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "error: fast failed: FloatingPointError: the loss is not finite"
    )
    assert "slow: targets_reached" in done.stdout
    assert list((race / "report").rglob("*.html"))


def dies_early(fake_root: Path, name: str) -> None:
    """Makes the submission exit while it is imported in a child, not in the script itself."""
    path = fake_root / "submissions" / name / "jax" / "submission.py"
    text = 'import sys\nif any("--cpu_core" in arg for arg in sys.argv):\n    sys.exit("gone")\n'
    path.write_text(text + path.read_text())


def test_a_run_that_dies_before_its_folder_is_warned_of_and_the_others_scored(
    command, race, fake_root
):
    dies_early(fake_root, "fast")
    done = run(command())
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("error: fast failed: ")
    assert "warning: fast has left no logs and is not scored" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert not (race / "fast").exists()
    scores = json.loads((race / "report" / "scores.json").read_text())
    assert "slow" in json.dumps(scores)


def test_no_logs_at_all(command, race, fake_root):
    dies_early(fake_root, "fast")
    dies_early(fake_root, "slow")
    done = run(command())
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        *2 * ["error"],
        *2 * ["warning"],
    ]
    assert not race.exists()


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (
            "--submissions=fast,soap",
            "error: unknown submission 'soap' for --framework=jax; allowed",
        ),
        ("--workloads=ogbg", "error: unknown workload 'ogbg'; allowed: quadratic"),
        ("--jobs=0", "error: --jobs=0; allowed: >= 1"),
        ("--data_dir=/none", "error: /none: no network and no data"),
    ],
)
def test_mistakes_are_one_line_and_status_2(command, race, flag, told):
    done = run(command(flag))
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
    assert not race.exists()


@pytest.fixture
def running(command, race, fake_root):
    """A comparison of two slow runs, once both have logged, and its child processes."""
    for name in ("fast", "slow"):
        (fake_root / "tuning_search_spaces" / f"{name}.json").write_text(SLOW)
    process = subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    side_by_side = min(2, len(os.sched_getaffinity(0)))
    deadline = time.monotonic() + 60
    while len(list(race.rglob("eval_measurements.csv"))) < side_by_side:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    yield process, psutil.Process(process.pid).children()
    process.kill()
    process.communicate()


def test_ctrl_c_ends_the_children_and_the_same_command_goes_on(running, command, race):
    process, children = running
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "interrupted: the same command keeps what is finished and goes on\n"
    assert not [child for child in children if child.is_running()]
    assert not list(race.rglob("result.json"))
    logged = {
        path.parent.parent.parent.parent.name: path.read_text()
        for path in race.rglob("eval_measurements.csv")
    }
    again = run(command("--max_global_steps=4"))  # the same, but it ends soon
    assert again.returncode == 0, again.stderr
    for name, text in logged.items():
        aside = race / name / "study_0" / "quadratic_jax" / "interrupted_trial_1_1"
        assert (aside / "eval_measurements.csv").read_text() == text
    assert len(list(race.rglob("result.json"))) == 2


def test_kill_9_ends_the_children_too_and_the_next_command_does_not_collide(running, command, race):
    process, children = running
    process.kill()
    process.communicate()
    again = run(command("--max_global_steps=4"))  # at once
    assert again.returncode == 0, again.stderr
    assert not [child for child in children if child.is_running()]
    assert len(list(race.rglob("result.json"))) == 2
    assert len(list(race.rglob("INTERRUPTED"))) == len(children)
    for path in race.rglob("*.csv"):
        lines = path.read_text().splitlines()
        assert len({line.count(",") for line in lines}) == 1
