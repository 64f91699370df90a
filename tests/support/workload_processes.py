"""Runs Python code in other processes: several JAX devices, several PyTorch ranks."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run_with_jax_devices(code: str, *arguments: object, devices: int = 8) -> None:
    """Runs `code` with that many virtual devices; its output is the message if it fails."""
    # Compiled without optimisation, in half the time.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    _wait([_start(code, arguments, {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"})])


def run_pytorch_ranks(code: str, *arguments: object, ranks: int = 2) -> None:
    """Runs `code` in that many processes, with what torchrun sets for gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    settings = [group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    _wait([_start(code, arguments, setting) for setting in settings])


def _start(code: str, arguments: Sequence[object], env: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait(processes: list[subprocess.Popen]) -> None:
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [
        output[-3000:]
        for process, output in zip(processes, outputs, strict=True)
        if process.returncode != 0
    ]
    assert not failed, "\n".join(failed)
