"""scripts/check_entry.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
import small_entries

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_entry.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


@pytest.mark.parametrize(
    ("flags", "how"), [([], "imported"), (["--noimport_entries"], "not imported")]
)
def test_a_good_entry_is_one_line_and_status_0(tmp_path, flags, how):
    small_entries.write(tmp_path)
    done = run("self_tuning/small", *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"self_tuning/small: fine (5 files, {how})\n"


def test_defects_are_a_line_each_and_status_1(tmp_path):
    bad = small_entries.write(tmp_path, name="bad", update="x = hyperparameters.rate")
    (bad / "LICENSE").unlink()
    small_entries.write(tmp_path, name="good")
    done = run("self_tuning/bad/", "self_tuning/good", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    first, second, third = done.stdout.splitlines()
    assert first == (
        "self_tuning/bad/LICENSE: missing (allowed: the text of the Apache License 2.0)"
    )
    assert second.startswith("self_tuning/bad/submission.py:")
    assert "update_params reads hyperparameters.rate" in second
    assert third.startswith("self_tuning/good: fine")


def test_warnings_leave_status_0(tmp_path):
    folder = small_entries.write(tmp_path)
    (folder / "README.md").unlink()
    done = run("self_tuning/small", "--noimport_entries", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == (
        "warning: self_tuning/small/README.md: missing\n"
        "self_tuning/small: fine (4 files, not imported)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no entry given (allowed: folders <ruleset>/<name> with submission.py)"),
        (["nowhere"], "nowhere: no such folder (allowed: folders <ruleset>/<name>)"),
        (["self_tuning/small", "--python=/nowhere"], "--python=/nowhere: No such file"),
        (["self_tuning/small", "--import_timeout=0"], "flag --import_timeout=0: 0.0 is not"),
        (["--pythons=x"], "Unknown command line flag 'pythons'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tmp_path, arguments, told):
    small_entries.write(tmp_path)
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
