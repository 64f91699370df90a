"""Runs Python code in other processes: several JAX devices, several PyTorch ranks."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import warm_processes

REPOSITORY = Path(__file__).resolve().parents[2]


def run_with_jax_devices(code: str, *arguments: object, devices: int = 8) -> None:
    """Runs `code` with that many virtual devices; its output is the message if it fails."""
    # Compiled without optimisation, in half the time.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    variables = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command,
        env=os.environ | variables,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    _assert_good([done])


def run_pytorch_ranks(code: str, *arguments: object, ranks: int = 2) -> None:
    """Runs `code` in that many processes, with what torchrun sets for gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    settings = [group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    _assert_good(warm_processes.run_codes(code, [*map(str, arguments)], settings, timeout=300))


def _assert_good(processes: Sequence[subprocess.CompletedProcess[str]]) -> None:
    failed = [(done.stdout + done.stderr)[-3000:] for done in processes if done.returncode]
    assert not failed, "\n".join(failed)
