"""scripts/score.py as a user runs it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm_processes
from log_trees import META, gold, hits_at, race, trial_dir, write_trial

REPOSITORY = Path(__file__).parents[2]


def score(*flags: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """In a process of its own that has what it imports."""
    return warm_processes.run_script("score", *flags, cwd=cwd)


def score_cold(*flags: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """As a user starts it."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "score.py"), *flags]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return race(tmp_path / "logs", {"adamw": [4, 4], "shampoo": [2, 2], "asgo": [1, 3]})


def test_prints_the_table_and_writes_the_report(logs: Path):
    done = score_cold(f"--submission_directory={logs}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["asgo", "shampoo", "adamw"]
    assert lines[-1].startswith(f"Report: {logs}/report/report.html")
    assert (logs / "report" / "report.html").is_file()
    assert json.loads((logs / "report" / "scores.json").read_text())["scores"]["asgo"] == 1.0


def test_works_from_any_folder_and_with_a_relative_path(logs: Path):
    done = score_cold("--submission_directory=logs", "--output_dir=out", cwd=logs.parent)
    assert done.returncode == 0, done.stderr
    assert (logs.parent / "out" / "report.html").is_file()
    assert not (logs / "report").exists()


def test_flags_reach_the_scoring(logs: Path):
    out = logs.parent / "out"
    done = score(
        f"--submission_directory={logs}",
        f"--output_dir={out}",
        "--num_studies=1",
        "--num_trials=1",
        "--baselines=asgo",
        "--exclude_submissions=adamw",
    )
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "scores.json").read_text())
    assert list(data["scores"]) == ["asgo", "shampoo"]
    assert data["num_studies"] == 1
    assert data["time_ratios"] == {"asgo": {"asgo": {"toy": 1.0}, "shampoo": {"toy": 2.0}}}
    assert "warning: asgo, toy: of 2 studies only the first 1 count" in done.stderr


def test_include_and_exclude(logs: Path):
    done = score(
        f"--submission_directory={logs}",
        "--include_submissions=adamw,asgo",
        "--exclude_submissions=asgo",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((logs / "report" / "scores.json").read_text())["scores"] == {"adamw": 1.0}


def test_targets_file(tmp_path: Path):
    folder = gold() / "edge_cases" / "e01_plain_ratios"
    done = score(
        f"--submission_directory={folder / 'logs'}",
        f"--workload_targets={folder / 'workload_targets.json'}",
        f"--output_dir={tmp_path}",
        "--baselines=a",
    )
    assert done.returncode == 0, done.stderr
    wanted = json.loads((folder / "expected.json").read_text())["rules"]["scores_exact_integral"]
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == pytest.approx(wanted)


def test_published_scores_of_v06(tmp_path: Path):
    done = score(
        f"--submission_directory={gold() / 'v06_external' / 'logs'}",
        "--workload_targets=v0.6",
        "--mode=fastest",
        "--integral=grid100",
        "--baselines=baseline",
        f"--output_dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert {name: f"{value:.4f}" for name, value in scores.items()} == {
        "shampoo": "0.6244",
        "baseline": "0.4590",
    }


@pytest.mark.parametrize(
    ("flags", "mode", "integral", "time"),
    [
        ([], "fastest", "exact", 20.0),
        (["--integral=grid100"], "fastest", "grid100", 20.0),
        (["--mode=official"], "official", "grid100", 15.0),
        (["--mode=official", "--integral=exact"], "official", "exact", 15.0),
    ],
)
def test_modes_and_integrals(
    tmp_path: Path, flags: list[str], mode: str, integral: str, time: float
):
    """Of asgo's three studies one is absent: infinite by the rules, dropped by the script."""
    logs = race(tmp_path / "logs", {"asgo": [1, 2], "adamw": [3, 3, 3]})
    done = score(f"--submission_directory={logs}", "--baselines=adamw", *flags)
    assert done.returncode == 0, done.stderr
    data = json.loads((logs / "report" / "scores.json").read_text())
    assert (data["mode"], data["integral"]) == (mode, integral)
    assert data["time_to_target_s"]["asgo"] == {"toy": time}


def test_strict_ends_with_status_2_when_something_was_left_out(logs: Path):
    assert score(f"--submission_directory={logs}", "--strict").returncode == 0
    csv = trial_dir(logs, "asgo") / "eval_measurements.csv"
    csv.write_text(csv.read_text() + "1,2\n")
    done = score(f"--submission_directory={logs}", "--strict")
    assert done.returncode == 2
    first, last = done.stderr.splitlines()
    assert "asgo/study_0/toy_jax/trial_1/eval_measurements.csv: row 10: wrong number" in first
    assert last == "error: --strict: 1 thing was left out or absent, see the warnings"
    # The rest is scored all the same.
    assert json.loads((logs / "report" / "scores.json").read_text())["scores"]["asgo"] == 1.0
    assert score(f"--submission_directory={logs}").returncode == 0


def test_strict_is_content_with_what_is_only_worth_knowing(logs: Path):
    (trial_dir(logs, "asgo") / "result.json").unlink()
    done = score(f"--submission_directory={logs}", "--strict")
    assert "no result.json" in done.stderr
    assert done.returncode == 0


def test_runs_that_do_not_compare_are_refused(logs: Path):
    other = {**META, "cpu_model_name": "Another CPU"}
    write_trial(trial_dir(logs, "asgo"), hits_at(1), meta=other)
    done = score(f"--submission_directory={logs}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "different hardware: Imagined CPU @ 3.00GHz, 1 of 2 CPU cores (5 runs, of " in line
    assert "Another CPU, 1 of 2 CPU cores (1 run, of asgo)" in line
    assert not (logs / "report").exists()
    done = score(f"--submission_directory={logs}", "--allow_mixed")
    assert done.returncode == 0, done.stderr
    assert json.loads((logs / "report" / "scores.json").read_text())["mixed"]


def test_the_self_tuning_ruleset_takes_one_trial_and_a_larger_budget(tmp_path: Path):
    for trial, hit in ((1, 4), (2, 2)):
        write_trial(trial_dir(tmp_path, "adamw", trial=trial), hits_at(hit))
    done = score(f"--submission_directory={tmp_path}", "--self_tuning_ruleset")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert data["time_to_target_s"] == {"adamw": {"toy": 40.0}}
    assert data["targets"]["toy"]["max_allowed_runtime_sec"] == 90.0


def test_watch_until_ctrl_c_then_writes_the_report(logs: Path):
    command = [sys.executable, str(REPOSITORY / "scripts" / "score.py"), "--watch=0.2"]
    watching = subprocess.Popen(
        [*command, f"--submission_directory={logs}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    lines = iter(watching.stdout.readline, "")
    first = next(line for line in lines if line.startswith("shampoo"))
    write_trial(trial_dir(logs, "asgo", study=1), hits_at(1))
    write_trial(trial_dir(logs, "shampoo", study=1), hits_at(1))
    second = next(line for line in lines if line.startswith("shampoo"))
    assert first != second
    time.sleep(0.3)
    watching.send_signal(signal.SIGINT)
    rest, errors = watching.communicate(timeout=60)
    assert watching.returncode == 0, errors
    assert rest.splitlines()[-1].startswith(f"Report: {logs}/report/report.html")


def test_many_warnings_are_summed_up(tmp_path: Path):
    for study in range(13):
        write_trial(trial_dir(tmp_path, "a", study=study), hits_at(1))
        (trial_dir(tmp_path, "a", study=study) / "meta_data_0.json").write_text("{")
    write_trial(trial_dir(tmp_path, "a", study=13), hits_at(1))
    done = score(f"--submission_directory={tmp_path}", "--baselines=a")
    assert done.returncode == 0, done.stderr
    warnings = done.stderr.splitlines()
    assert len(warnings) == 11
    assert warnings[0].startswith("warning: a/study_0/toy_jax/trial_1/meta_data_0.json: ")
    assert warnings[-1] == "warning: 3 more, all of them in the report"
    assert (tmp_path / "report" / "report.html").read_text().count("meta_data_0.json") == 13


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "--submission_directory"),
        (["--submission_directory=/does/not/exist"], "/does/not/exist: no such directory"),
        (["--submission_directory={tmp}"], "no logs found, expected"),
        (["--submission_directory={logs}", "--num_studies=0"], "--num_studies=0"),
        (["--submission_directory={logs}", "--no_such_flag=1"], "no_such_flag"),
        (["--submission_directory={logs}", "--framework=tensorflow"], "<jax|pytorch>"),
        (
            ["--submission_directory={logs}", "--framework=pytorch"],
            "framework pytorch; there are j",
        ),
        (["--submission_directory={logs}", "--include_submissions=x"], "there are adamw, asgo, sh"),
        (
            ["--submission_directory={logs}", "--exclude_submissions=x"],
            "--exclude_submissions=x: n",
        ),
        (
            ["--submission_directory={logs}", "--exclude_submissions=adamw,asgo,shampoo"],
            "--exclude_submissions leaves no submission to score",
        ),
        (["--submission_directory={logs}", "--workload_targets=/nope.json"], "/nope.json: No such"),
        (["--submission_directory={logs}", "--workload_targets=v0.7"], "one of v0.5, v0.6, 2026"),
        (["--submission_directory={logs}", "--mode=quickest"], "<fastest|official>"),
        (["--submission_directory={logs}", "--integral=rough"], "<exact|grid100>"),
        (["--submission_directory={logs}", "--watch=0"], "--watch=0"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    logs: Path, tmp_path: Path, flags: list[str], told: str
):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = score(*(flag.format(logs=logs, tmp=empty) for flag in flags))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert not (logs / "report").exists()


def test_help_starts_with_what_it_does_and_an_example():
    done = score_cold("--help")
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0].startswith("Score a tree of logs by time to target: ")
    assert lines[1].startswith("Example: python scripts/score.py --submission_directory=")
    for flag in ("workload_targets", "mode", "integral", "strict", "watch", "output_dir"):
        assert flag in done.stdout
