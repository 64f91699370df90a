"""run_main: exit statuses, one line on stderr, help."""

import subprocess
import sys

import pytest

from benchmark import errors

SCRIPT = """
'''Does nothing.

Example: python script.py --number=3
'''
import sys
from absl import flags
from benchmark.errors import UserError, run_main

flags.DEFINE_integer("number", 1, "A number.", lower_bound=0)

def main():
    number = flags.FLAGS.number
    if number == 2:
        raise UserError("number 2\\n  is taken")
    if number == 3:
        raise KeyboardInterrupt
    if number == 4:
        raise ZeroDivisionError("a fault of ours")
    if number == 5:
        for _ in range(100000):
            print("a line")
    return None if number == 1 else number

run_main(main)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(path), *args]
        environment["PYTHONPATH"] = str(errors.__file__).removesuffix("benchmark/errors.py")
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


@pytest.mark.parametrize(
    ("flag", "status", "told"),
    [
        ("--number=1", 0, ""),
        ("--number=7", 7, ""),
        ("--number=2", 2, "error: number 2 is taken\n"),
        ("--number=3", 130, "interrupted\n"),
        ("--number=two", 2, "error: flag --number=two: invalid literal"),
        ("--number=-1", 2, "error: flag --number=-1: -1 is not"),
        ("--munber=1", 2, "error: Unknown command line flag 'munber'. Did you mean: number ?"),
        ("stray", 2, "error: unexpected argument 'stray'"),
    ],
)
def test_status_and_one_line(script, flag, status, told):
    done = script(flag)
    assert done.returncode == status
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == bool(told)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("flag", "status"), [("--number=2", 0), ("--munber=1", 0), ("--number=3", 130), ("stray", 0)]
)
def test_torchruns_other_processes_leave_mistakes_to_the_first(script, flag, status):
    """Were their status not 0, torchrun might end the first one before it has told."""
    first, other = script(flag, LOCAL_RANK="0"), script(flag, LOCAL_RANK="1")
    assert first.returncode == (130 if status else 2)
    assert first.stderr.count("\n") == 1
    assert (other.returncode, other.stdout, other.stderr) == (status, "", "")


def test_our_own_faults_keep_their_traceback(script):
    done = script("--number=4")
    assert done.returncode == 1
    assert "ZeroDivisionError: a fault of ours" in done.stderr
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_begins_with_what_it_does_and_an_example(script, flag):
    done = script(flag)
    assert done.returncode == 0
    lines = done.stdout.strip().splitlines()
    assert lines[0] == "Does nothing."
    assert lines[2].startswith("Example: python script.py")
    assert "--number: A number." in done.stdout


def test_a_reader_that_leaves_is_no_fault(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    root = str(errors.__file__).removesuffix("benchmark/errors.py")
    command = f"PYTHONPATH={root} {sys.executable} {path} --number=5 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "a line\n"
    assert done.stderr == ""


def test_one_line_and_summary():
    assert errors.one_line(ValueError("two\n   lines")) == "two lines"
    assert errors.summary(KeyError("x")) == "KeyError: 'x'"
