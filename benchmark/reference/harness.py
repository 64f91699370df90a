"""AlgoPerf's harness as it is installed for some interpreter: where it lies and which it is."""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError, one_line

TEST = "tests/reference_algorithm_tests.py"
# Of what the test imports; the data and documents beside it change no result.
_PARTS = ("algoperf", "tests", "submission_runner.py")
_PACKAGES = ("algoperf", "jax", "flax", "optax", "torch", "numpy", "tensorflow")
_ASK = f"""
import importlib.metadata, importlib.util, pathlib, platform
spec = importlib.util.find_spec("algoperf")
print(pathlib.Path(spec.origin).resolve().parent.parent if spec and spec.origin else "")
names = ("matprec", "submissions", "algoperf_api")
print(" ".join(name for name in names if importlib.util.find_spec(name)))
print("python", platform.python_version())
for name in {_PACKAGES}:
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
"""


@dataclass(frozen=True)
class Harness:
    """An unpacked harness, the interpreter that it runs in and what tells both from others."""

    directory: Path
    python: str
    digest: str  # of the harness's sources
    commit: str  # "" where it is no git checkout
    versions: dict[str, str]
    packages_of_ours: tuple[str, ...] = ()  # this repository's that its interpreter has installed


def find(python: str, directory: str | None) -> Harness:
    """The harness in `directory`, or the one that `python` imports as `algoperf`.

    Raises:
        UserError: there is none, or it comes without its tests (as an installed wheel does).
    """
    if os.sep in python:
        python = str(Path(python).expanduser().absolute())  # tests start in another folder
    installed, ours, versions = _ask(python)
    if directory is None and not installed:
        raise UserError(
            f"--python={python}: no algoperf is installed for it; install AlgoPerf's harness there "
            "from a clone (pip install -e), or name the clone with --harness_dir"
        )
    where = Path(directory or installed).expanduser().resolve()
    if not (where / TEST).is_file():
        raise UserError(
            f"{where}: no {TEST} there; --harness_dir must name a clone of AlgoPerf's repository"
        )
    return Harness(where, python, _digest(where), _commit(where), versions, tuple(ours.split()))


def _ask(python: str) -> tuple[str, str, dict[str, str]]:
    # Neither what PYTHONPATH names nor what lies in the working folder (-P) is installed.
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "-P", "-c", _ASK]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=120, env=variables
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or error
        raise UserError(f"--python={python}: cannot be run: {one_line(str(told))}") from None
    place, ours, *lines = done.stdout.splitlines()
    return place, ours, dict(line.split(" ", 1) for line in lines)


def _digest(directory: Path) -> str:
    found = hashlib.sha256()
    for part in _PARTS:
        root = directory / part
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            found.update(f"{path.relative_to(directory)}\0".encode())
            found.update(path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _commit(directory: Path) -> str:
    """The commit checked out there; "" where it is no checkout, or only a folder inside one."""
    command = ["git", "-C", str(directory), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    top, _, commit = done.stdout.strip().partition("\n")
    return commit if done.returncode == 0 and Path(top).resolve() == directory else ""
