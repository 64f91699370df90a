"""A folder that looks like a clone of AlgoPerf's repository, and submissions for it.

Its reference test imports the submission, as the real one does, and calls its `behave(flags)`.
"""

import os
import subprocess
import sys
from pathlib import Path

REFERENCE_TEST = """
import argparse, importlib, sys, unittest

parser = argparse.ArgumentParser()
for name in ("workload", "framework", "submission_path", "tuning_search_space", "log_file"):
    parser.add_argument(f"--{name}", required=True)
for name in ("global_batch_size", "num_train_steps"):
    parser.add_argument(f"--{name}", required=True, type=int)
flags = parser.parse_args()
sys.argv = sys.argv[:1]


class Test(unittest.TestCase):
    def test_submission(self):
        import submission_runner  # noqa: F401
        from tests import helper  # noqa: F401
        name = flags.submission_path.removesuffix(".py").replace("/", ".")
        importlib.import_module(name).behave(flags)


unittest.main()
"""

PASSES = "def behave(flags):\n    pass\n"
FAILS = "def behave(flags):\n    raise ValueError(f'no {flags.workload} today')\n"
SLEEPS = "import time\ndef behave(flags):\n    time.sleep(60)\n"


def make_harness(folder: Path) -> Path:
    """Writes the clone into `folder`."""
    write(folder / "algoperf/__init__.py", "")
    write(folder / "submission_runner.py", "")
    write(folder / "tests/__init__.py", "")
    write(folder / "tests/helper.py", "")
    write(folder / "tests/reference_algorithm_tests.py", REFERENCE_TEST)
    return folder


def make_repository(folder: Path, submissions: dict[str, str]) -> Path:
    """Writes a repository with these submissions, name -> source, in both frameworks."""
    for part in ("matprec", "algoperf_api"):
        write(folder / part / "__init__.py", "")
    for name, source in submissions.items():
        for framework in ("jax", "pytorch"):
            write(folder / "submissions" / name / framework / "submission.py", source)
        write(folder / "tuning_search_spaces" / f"{name}.json", "[{}]")
    return folder


def make_entry(folder: Path, source: str, framework: str = "", space: bool = True) -> Path:
    """Writes an exported entry into `folder`."""
    write(folder / "__init__.py", "")
    write(folder / "submission.py", source)
    if framework:
        write(folder / "submission_info.yml", f"submission_name: x\nframework: {framework}\n")
    if space:
        write(folder / "tuning_search_space.json", "[{}]")
    return folder


def make_python(folder: Path, *places: Path) -> Path:
    """An interpreter for which the packages in `places` are installed."""
    path = folder / "python"
    paths = os.pathsep.join(map(str, places)) + "${PYTHONPATH:+:$PYTHONPATH}"
    write(path, f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


def commit(folder: Path) -> None:
    """Makes a git repository of `folder`, or a new commit in it."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
