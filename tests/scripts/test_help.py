"""Every script says in one line what it does, gives a one-line example and lists its flags."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


NAMES = [path.stem for path in sorted(SCRIPTS.glob("*.py"))]


@pytest.mark.parametrize("name", NAMES)
def test_help(name):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{name}.py"), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    first, blank, example = done.stdout.strip().splitlines()[:3]
    assert first.endswith(".")
    assert blank == ""
    assert example.startswith(f"Example: python scripts/{name}.py --")
    known = set(re.findall(r"--(?:\[no\])?(\w+):", done.stdout))
    used = set(re.findall(r"--(\w+)=", example))
    assert used <= known
