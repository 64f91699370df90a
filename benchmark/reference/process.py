"""One test's process: its command, its environment, its end."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError

_POLL_SEC = 0.5
_GRACE_SEC = 5.0  # from SIGTERM to SIGKILL
_TAIL_BYTES = 200_000
# What PyTorch's thread pools, BLAS and the harness's TensorFlow read when they are loaded.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


@dataclass(frozen=True)
class Finished:
    """`exit_status` is None if the process ran into its limit, minus the signal if one ended it;
    `output` is the end of what it wrote to stdout and stderr."""

    exit_status: int | None
    seconds: float
    output: str


def environment(python_path: Sequence[Path], jax_num_cpu_devices: int | None) -> dict[str, str]:
    """What the process gets besides the parent's environment. PYTHONPATH replaces the parent's, so
    that nothing but the harness and the tested sources is found.

    XLA_FLAGS is no use here: the harness overwrites it when it is imported.
    """
    mine = {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(map(str, python_path))}
    if jax_num_cpu_devices is not None:
        mine["JAX_NUM_CPU_DEVICES"] = str(jax_num_cpu_devices)
    return mine


def run(
    command: Sequence[str],
    variables: dict[str, str],
    folder: Path,
    time_limit_sec: float,
    stop: threading.Event,
    tick: Callable[[float], None] = lambda seconds: None,
    core: int | None = None,
) -> Finished | None:
    """Runs `command` in `folder` until it ends, runs into its limit or `stop` is set (then: None).

    `tick` gets the seconds that have gone by, twice a second. `core` is the one that the process
    is kept to, if any.
    """
    start = time.monotonic()
    with open(folder / "output.txt", "w+b") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **variables},
                # Ctrl-C in the terminal is for the parent; and a test's own children end with it.
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"{command[0]}: cannot be run: {error.strerror}") from None
        try:
            if core is not None and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(process.pid, {core})
            status = _wait(process, start, time_limit_sec, stop, tick)
        finally:
            _end(process)
        if stop.is_set():
            return None
        seconds = time.monotonic() - start
        output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return Finished(status, seconds, output.read().decode(errors="replace"))


def _wait(
    process: subprocess.Popen[bytes],
    start: float,
    time_limit_sec: float,
    stop: threading.Event,
    tick: Callable[[float], None],
) -> int | None:
    while not stop.is_set():
        gone = time.monotonic() - start
        if gone >= time_limit_sec:
            return None
        tick(gone)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(_POLL_SEC, time_limit_sec - gone))
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it has started: told first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SEC)
