"""Exported entries for tests, and processes that see only these."""

import os
import subprocess
import sys
from pathlib import Path

from benchmark.entries.check import stub
from benchmark.entries.export import Request, export

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = Path(__file__).resolve().parent


def export_entry(output: Path, name: str, framework: str, ruleset: str) -> Path:
    """One entry of the repository, with the README's numbers left out."""
    return export(Request(name, framework, ruleset, "a paper", {"beta1": 0.9}), output, ROOT)


def stub_folder(parent: Path) -> Path:
    """A folder with the stand-in for AlgoPerf."""
    folder = parent / "stub"
    folder.mkdir()
    stub.write(folder)
    return folder


def run_alone(
    code: str, *arguments: object, path: tuple[Path, ...], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Python code in a process with nothing of this repository on its path but `path`."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    variables |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "JAX_PLATFORMS": "cpu"}
    variables["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiled in half the time
    return subprocess.run(
        [sys.executable, "-P", "-B", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
    )
