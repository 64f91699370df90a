"""What happens before the harness takes over: dry run, data, hardware note."""

import json
from types import SimpleNamespace

import pytest

import benchmark.run
from benchmark.errors import UserError
from benchmark.hardware import Gpu
from benchmark.official import run as official
from benchmark.official.command import Request
from workloads_overrides.budgets import load

A100 = [Gpu(str(i), f"GPU-{i}a", "NVIDIA A100-SXM4-40GB", 39.59) for i in range(4)]


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(**changes):
        given = {
            "workload": "ogbg_small",
            "framework": "jax",
            "submission_path": "submissions/asgo/jax/submission.py",
            "experiment_dir": "runs",
            "experiment_name": "asgo/study_1",
            "tuning_ruleset": "self",
        }
        return Request(**{**given, **changes})

    return make


@pytest.fixture
def done(monkeypatch):
    """What was done, in order, with the harness and the data replaced."""
    calls = []
    monkeypatch.setattr(
        benchmark.run, "prepare_data", lambda name, folder, _: calls.append(f"{name} in {folder}")
    )
    monkeypatch.setattr(official, "replace_process", calls.append)
    return calls


def read_note(tmp_path, name):
    path = tmp_path / "runs" / "asgo" / "study_1" / f"hardware_note_{name}.json"
    return json.loads(path.read_text())


def test_data_and_note_come_before_the_harness(request_of, done, tmp_path):
    official.run(request_of(data_dir="there"), "none")
    prepared, command = done
    assert prepared == "ogbg_small in there"
    assert f"--data_dir={tmp_path}/there" in command.argv
    assert read_note(tmp_path, "ogbg_small_jax") == {
        "workload": "ogbg_small",
        "framework": "jax",
        "rules": None,
        "found": [],
        "wanted": None,
        "matches": None,
        "budgets": None,
    }
    # Were it there, the harness would ask whether to resume.
    assert not (tmp_path / "runs" / "asgo" / "study_1" / "ogbg_small_jax").exists()


def test_the_data_of_official_workloads_is_the_users(request_of, done, tmp_path):
    request = request_of(workload="wmt", rules="2026_4xA100", gpus=A100)
    official.run(request, "none")
    (command,) = done
    assert "--rules=2026_4xA100" in command.argv
    note = read_note(tmp_path, "wmt_jax")
    assert note["matches"] is True
    assert note["found"] == [{"name": "NVIDIA A100-SXM4-40GB", "memory_gib": 39.59}] * 4
    assert note["wanted"] == {"gpu": "A100", "count": 4, "memory_gib": 40}
    assert note["budgets"] == vars(load("2026_4xA100").workloads["wmt"])
    assert note["budgets"]["max_allowed_runtime_sec"] == 16114


def test_only_the_gpus_used_are_compared(request_of, done, tmp_path):
    official.run(request_of(workload="wmt", rules="2026_4xA100", gpus=A100, num_gpus=2), "none")
    note = read_note(tmp_path, "wmt_jax")
    assert len(note["found"]) == 2
    assert note["matches"] is False


def test_a_dry_run_prints_the_command_and_does_nothing(request_of, done, tmp_path, capsys):
    status = official.run(request_of(dry_run=True, rules="v0.6_8xV100"), "none")
    out, err = capsys.readouterr()
    assert status == 0
    assert out.count("\n") == 1
    assert "/benchmark/official/launch.py --workload=ogbg_small " in out
    assert err.startswith("hardware: no GPU; --rules=v0.6_8xV100 is for 8x V100 16 GiB: does not ")
    assert done == []
    assert list(tmp_path.iterdir()) == []


def test_what_only_the_preparation_needs_may_be_missing(request_of, done, monkeypatch, capsys):
    def prepare(name, folder, shown):
        raise UserError("data not prepared, no rdkit") from ModuleNotFoundError(name="rdkit")

    monkeypatch.setattr(benchmark.run, "prepare_data", prepare)
    official.run(request_of(), "none")
    assert len(done) == 1
    assert "data not prepared, no rdkit" in capsys.readouterr().err


def test_data_that_cannot_be_had_end_it(request_of, done, monkeypatch, tmp_path):
    def prepare(name, folder, shown):
        raise UserError("no network")

    monkeypatch.setattr(benchmark.run, "prepare_data", prepare)
    with pytest.raises(UserError, match="no network"):
        official.run(request_of(), "none")
    assert done == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "hardware: no GPU; without --rules every workload keeps its own budget"),
        (
            {"rules": "2026_4xA100", "gpus": A100, "workload": "wmt"},
            "hardware: 4x NVIDIA A100-SXM4-40GB (40 GiB); --rules=2026_4xA100 is for "
            "4x A100 40 GiB: matches",
        ),
        (
            {"rules": "2026_4xA100", "gpus": A100},
            "hardware: 4x NVIDIA A100-SXM4-40GB (40 GiB); --rules=2026_4xA100 is for "
            "4x A100 40 GiB: matches; ogbg_small keeps its own budget",
        ),
        (
            {"rules": "v0.6_8xV100", "gpus": A100, "num_gpus": 1, "workload": "wmt"},
            "hardware: 1x NVIDIA A100-SXM4-40GB (40 GiB); --rules=v0.6_8xV100 is for "
            "8x V100 16 GiB: does not match, times do not compare with its",
        ),
    ],
)
def test_the_hardware_line(request_of, changes, line):
    assert official.hardware_line(request_of(**changes)) == line


def test_the_harness_takes_this_processs_place(monkeypatch):
    calls = []
    monkeypatch.setattr(official.os, "dup2", lambda *where: calls.append(where))
    monkeypatch.setattr(official.os, "execve", lambda *args: calls.append(args))
    monkeypatch.setenv("KEPT", "yes")
    command = SimpleNamespace(argv=["/bin/python", "x"], environment={"CUDA_VISIBLE_DEVICES": "1"})
    official.replace_process(command)
    (_, stdin), (program, argv, environment) = calls
    assert stdin == 0
    assert (program, argv) == ("/bin/python", ["/bin/python", "x"])
    assert environment["KEPT"] == "yes"
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
