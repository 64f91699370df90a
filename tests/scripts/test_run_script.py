"""scripts/run.py as a user runs it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import repository

from benchmark import cores


@pytest.fixture
def command(fake_root, tmp_path):
    """The command line, with `tmp_path/experiments` to write to."""

    def build(*flags: str, **workload) -> list[str]:
        return [
            *repository.script(fake_root, "run", **workload),
            "--workload=quadratic",
            "--framework=jax",
            "--submission_path=submissions/fast/jax/submission.py",
            f"--tuning_search_space={fake_root}/tuning_search_spaces/fast.json",
            f"--experiment_dir={tmp_path}/experiments",
            "--experiment_name=e",
            f"--data_dir={fake_root}/data",
            "--rng_seed=1",
            "--eval_every_steps=5",
            *flags,
        ]

    return build


@pytest.fixture
def trial(tmp_path) -> Path:
    return tmp_path / "experiments" / "e" / "quadratic_jax" / "trial_1"


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def wait_for_rows(path: Path, rows: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) <= rows:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_pinned_to_a_core(command, trial):
    core = cores.available()[0]
    done = run(command(f"--cpu_core={core}"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "trial_1: targets_reached at step" in done.stdout
    assert json.loads((trial / "meta_data_0.json").read_text())["cpu_cores_used"] == 1
    assert json.loads((trial / "flags_0.json").read_text())["cpu_core"] == core


def test_an_error_in_training_is_one_line_and_status_1(command, trial, fake_root):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"learning_rate": 0.1, "fail_at": 2}]')
    done = run(command("--progress=none"))
    assert done.returncode == 1
    assert done.stderr == "error: FloatingPointError: the loss is not finite\n"
    assert done.stdout == ""
    assert json.loads((trial / "result.json").read_text())["reason"] == "error"
    assert "Traceback" in (trial / "run.log").read_text()


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--workload=cubic", "error: unknown workload 'cubic'; allowed: quadratic\n"),
        ("--framework=mxnet", "error: flag --framework=mxnet: value should be one of <jax|pytorch"),
        ("--seed=1", "error: Unknown command line flag 'seed'"),
        ("--cpu_core=-1", "error: --cpu_core=-1: not a core of this process; allowed: "),
        ("--submission_path=submissions/x.py", "error: unknown submission --submission_path=subm"),
        ("--tuning_search_space=x.json", "error: tuning search space x.json: No such file"),
    ],
)
def test_mistakes_are_one_line_and_status_2(command, trial, flag, told):
    done = run(command(flag))
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not trial.exists()


def test_a_point_that_the_submission_refuses_is_one_line_and_status_2(command, trial, fake_root):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"delay": 1}, {"delay": -1}]')
    done = run(command("--num_tuning_trials=2"))
    assert done.returncode == 2
    assert done.stderr == f"error: {space}, point 2: delay=-1 must not be negative\n"
    assert not trial.exists()


@pytest.mark.parametrize(
    "name", ["workload", "framework", "submission_path", "experiment_dir", "experiment_name"]
)
def test_a_flag_that_a_run_needs(command, trial, name):
    done = run([part for part in command() if not part.startswith(f"--{name}=")])
    assert done.returncode == 2
    assert f"Flag --{name} must have a value other than None." in done.stderr
    assert done.stderr.count("\n") == 1
    assert not trial.exists()


def test_the_list_of_workloads_needs_no_other_flag():
    path = Path(cores.__file__).parent.parent / "scripts" / "run.py"
    done = run([sys.executable, str(path), "--list_workloads"])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name in ("ogbg_small", "c4_60m", "c4, c4_130m", "imagenet_vit", "finewebedu_lm"):
        assert [line for line in lines if line.startswith(name)]
    assert lines[-1].startswith("Budgets: seconds of training allowed")


SLOW = '[{"learning_rate": 0.001, "delay": 0.02}]'


def start(command: list[str], trial: Path, **streams) -> subprocess.Popen[str]:
    """A slow run, once it has evaluated twice."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **streams
    )
    wait_for_rows(trial / "eval_measurements.csv", 2)
    return process


@pytest.fixture
def slow(fake_root):
    (fake_root / "tuning_search_spaces" / "fast.json").write_text(SLOW)


def test_ctrl_c_keeps_what_was_logged_and_the_same_command_runs_it_again(command, trial, slow):
    process = start(command(), trial)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "interrupted: the same command keeps what is finished and goes on\n"
    assert not (trial / "result.json").exists()
    rows = len((trial / "eval_measurements.csv").read_text().splitlines())
    again = run(command("--max_global_steps=3"))
    assert again.returncode == 0, again.stderr
    aside = trial.with_name("interrupted_trial_1_1")
    assert len((aside / "eval_measurements.csv").read_text().splitlines()) == rows
    assert "set aside" in again.stdout


def test_kill_9_then_the_same_command_at_once(command, trial, slow):
    process = start(command(), trial)
    process.kill()
    process.communicate()
    again = run(command("--max_global_steps=3"))
    assert again.returncode == 0, again.stderr
    assert (trial.with_name("interrupted_trial_1_1") / "INTERRUPTED").exists()
    assert (trial / "result.json").exists()


def test_end_with_stdin(command, trial, slow):
    process = start(command("--end_with_stdin"), trial, stdin=subprocess.PIPE)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=60) == 130
    assert not (trial / "result.json").exists()


def test_standard_input_does_not_matter_otherwise(command, trial):
    assert run(command("--max_global_steps=2")).returncode == 0  # it is /dev/null
