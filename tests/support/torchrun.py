"""Commands under torchrun, as a user starts them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def start(
    argv: Sequence[object], processes: int = 2, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """`argv` (a Python file and its arguments) in that many processes, one thread each."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.Popen(
        [sys.executable, *launcher, *map(str, argv)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (env or {}),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, stdout, stderr


def run(
    argv: Sequence[object], processes: int = 2, env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    return finish(start(argv, processes, env))
