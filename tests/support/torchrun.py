"""Commands under torchrun, as a user starts them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import warm_processes

REPOSITORY = Path(__file__).resolve().parents[2]


def start(
    argv: Sequence[object], processes: int = 2, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """`argv` (a Python file and its arguments) in that many processes, one thread each."""
    launcher = ["-m", "torch.distributed.run", *_options(processes)]
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
    """(exit status, standard output, standard error).

    torchrun itself is forked with PyTorch imported, the processes that it starts are new.
    """
    code = 'import runpy; runpy.run_module("torch.distributed.run", run_name="__main__")'
    arguments = [*_options(processes), *map(str, argv)]
    variables = {"OMP_NUM_THREADS": "1"} | (env or {})
    (done,) = warm_processes.run_codes(code, arguments, [variables], timeout=120)
    return done.returncode, done.stdout, done.stderr


def _options(processes: int) -> list[str]:
    return ["--standalone", f"--nproc_per_node={processes}"]
