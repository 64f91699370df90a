"""scripts/reference_tests.py as users run it, on a fake harness; once on the real one."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_harness import (
    FAILS,
    PASSES,
    SLEEPS,
    make_entry,
    make_harness,
    make_python,
    make_repository,
    write,
)

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "reference_tests.py"


class Call:
    """The script's flags for a folder with a fake harness and repository."""

    def __init__(self, folder: Path) -> None:
        self.root = make_repository(folder / "root", {"bad": FAILS, "good": PASSES})
        self.clone = make_harness(folder / "clone")
        self.output = folder / "out"
        self.flags = {
            "repository": self.root,
            "harness_dir": self.clone,
            "output_dir": self.output,
            "workloads": "ogbg,fastmri",
        }

    def command(self, *more: str, **flags) -> list[str]:
        given = [f"--{key}={value}" for key, value in (self.flags | flags).items()]
        return [sys.executable, str(SCRIPT), *given, *more]

    def __call__(self, *more: str, **flags) -> subprocess.CompletedProcess[str]:
        command = self.command(*more, **flags)
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def call(tmp_path):
    return Call(tmp_path)


def rows(done):
    """Cells of every row by (submission, framework)."""
    lines = [line.split("  ") for line in done.stdout.splitlines() if "  " in line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {tuple(line[:2]): line[2:] for line in cells if line[0] in ("bad", "good", "passed")}


def test_a_matrix_with_failures(call):
    done = call()
    assert done.returncode == 1
    assert done.stderr == ""
    assert "8 of 8 tests to run" in done.stdout
    found = rows(done)
    for framework in ("jax", "pytorch"):
        assert found["bad", framework] == ["FAILED", "FAILED", "0/2"]
        assert found["good", framework][-1] == "2/2"
        assert all(cell.startswith("ok ") for cell in found["good", framework][:2])
    assert "failed: bad fastmri pytorch: ValueError: no fastmri today" in done.stdout.splitlines()
    assert done.stdout.count("ValueError: no ogbg today") == 4  # while it runs and in the end
    kept = [json.loads(path.read_text()) for path in call.output.glob("*/*.json")]
    assert len(kept) == 8
    assert {one["made_of"]["global_batch_size"] for one in kept} == {2}


def test_nothing_runs_twice_and_failures_again_if_asked(call):
    call(workloads="ogbg", frameworks="jax")
    again = call(workloads="ogbg", frameworks="jax")
    assert "0 of 2 tests to run" in again.stdout
    assert again.returncode == 1
    # A failure whose cause lay outside all that is hashed.
    assert "1 of 2 tests to run" in call("--retry", workloads="ogbg", frameworks="jax").stdout
    more = call(workloads="ogbg,fastmri", frameworks="jax")
    assert "2 of 4 tests to run" in more.stdout
    write(call.root / "matprec/new.py", "")
    assert "4 of 4 tests to run" in call(workloads="ogbg,fastmri", frameworks="jax").stdout


def test_all_passed(call):
    done = call(submissions="good", jobs=2)
    assert done.returncode == 0
    assert rows(done)["passed", "2/2"] == ["2/2", "4/4"]


def test_the_summary_runs_nothing(call):
    done = call("--summary")
    assert done.returncode == 0
    assert not call.output.exists()
    assert rows(done)["good", "jax"] == ["-", "-", "0/2"]
    assert "8 of 8 without a result for these sources and flags" in done.stdout
    call(submissions="good", workloads="ogbg")
    assert "6 of 8 without a result" in call("--summary").stdout


def test_a_longer_time_limit_gives_another_try(call):
    write(call.root / "submissions/good/jax/submission.py", SLEEPS)
    few = {"submissions": "good", "frameworks": "jax", "workloads": "ogbg"}
    done = call(time_limit=2, **few)
    assert done.returncode == 1
    assert rows(done)["good", "jax"] == ["TIMEOUT", "0/1"]
    assert "timeout: good ogbg jax: not finished after 2 s" in done.stdout
    assert "0 of 1 tests to run" in call(time_limit=2, **few).stdout
    assert "1 of 1 tests to run" in call(time_limit=2.5, **few).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_told_in_one_line(call, number):
    write(call.root / "submissions/good/jax/submission.py", SLEEPS)
    command = call.command(workloads="ogbg")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(call.output.glob("bad/ogbg.pytorch.*.json")):
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted: the same command keeps what is finished and goes on\n"
    assert not list(call.output.glob("good/ogbg.jax.*.json"))
    assert rows(call("--summary", workloads="ogbg"))["bad", "jax"] == ["FAILED", "0/1"]


def test_devices_and_batch_sizes(call):
    few = {"submissions": "good", "frameworks": "jax", "workloads": "ogbg"}
    call(jax_num_cpu_devices=4, **few)
    call(jax_num_cpu_devices=2, global_batch_size=6, **few)
    kept = [json.loads(path.read_text())["made_of"] for path in call.output.glob("*/*.json")]
    found = {(one["jax_num_cpu_devices"], one["global_batch_size"]) for one in kept}
    assert found == {(4, 4), (2, 6)}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"submissions": "ugly"}, "--submissions: 'ugly' is unknown"),
        ({"workloads": "ogbg,cats"}, "--workloads: 'cats' is unknown; allowed: ogbg, "),
        ({"workloads": ""}, "--workloads: '' is unknown"),
        ({"frameworks": "tf"}, "--frameworks: 'tf' is unknown; allowed: jax, pytorch"),
        ({"harness_dir": "/nowhere"}, "/nowhere: no tests/reference_algorithm_tests.py there"),
        ({"repository": "/nowhere"}, "--repository=/nowhere: no such folder"),
        ({"submission_root": "/nowhere"}, "--submission_root=/nowhere: no such folder"),
        ({"python": "/nowhere/python"}, "--python=/nowhere/python: cannot be run"),
        ({"jobs": "0"}, "jobs"),
        (
            {"jax_num_cpu_devices": "2", "global_batch_size": "3"},
            "--global_batch_size=3: not a multiple of --jax_num_cpu_devices=2",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(call, flags, told):
    done = call(**flags)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not call.output.exists()


def test_exported_entries(call, tmp_path):
    exports = tmp_path / "exports"
    make_entry(exports / "self_tuning/good", PASSES, "JAX", space=False)
    make_entry(exports / "external_tuning/good", PASSES, "PyTorch")
    done = call(submission_root=exports, workloads="ogbg")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 tests to run" in done.stdout
    commands = [
        json.loads(path.read_text())["command"]
        for ruleset in ("self_tuning", "external_tuning")
        for path in (call.output / ruleset / "good").glob("*.json")
    ]
    assert "--tuning_search_space=None" in commands[0]
    assert any(flag.endswith("/tuning_search_space.json") for flag in commands[1])


def test_exported_entries_where_this_repository_is_installed(call, tmp_path):
    make_entry(tmp_path / "exports/self_tuning/good", PASSES, space=False)
    python = make_python(tmp_path, call.clone, call.root)
    done = call(submission_root=tmp_path / "exports", python=python)
    assert done.returncode == 2
    assert "has matprec, submissions, algoperf_api installed" in done.stderr


@pytest.mark.official
@pytest.mark.skipif(
    importlib.util.find_spec("submission_runner") is None, reason="needs AlgoPerf's harness"
)
def test_one_real_test(tmp_path):
    flags = ["--submissions=asgo", "--workloads=ogbg", "--frameworks=pytorch"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *flags, f"--output_dir={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
