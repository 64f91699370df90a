"""The facts about a run that AlgoPerf keeps in meta_data_k.json, and a few of our own."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from benchmark import backend, cores
from benchmark.hardware import visible_gpus
from benchmark.submission import REPOSITORY

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")


def collect(workload: Any, framework: str, rng_seed: int) -> dict[str, Any]:
    """AlgoPerf's keys, where this machine can tell, and ours: `framework`, `versions` (of the
    packages that are installed), `cpu_cores_used` (None where processes cannot be kept to cores),
    `git_uncommitted_changes`."""
    return {
        **workload_properties(workload),
        **_utilization(),
        "os_platform": platform.platform(),
        "python_version": platform.python_version(),
        "python_compiler": platform.python_compiler(),
        **_git(),
        "cpu_model_name": cpu_model_name(),
        "cpu_count": psutil.cpu_count(),
        **_gpus(framework),
        "rng_seed": rng_seed,
        "framework": framework,
        "versions": versions(),
        "cpu_cores_used": cores.used(),
    }


def workload_properties(workload: Any) -> dict[str, Any]:
    """Every public attribute of the workload that is a number, a string or a bool."""
    properties = {}
    for name in dir(workload):
        if name.startswith("_") or name in ("param_shapes", "model_params_types"):
            continue
        try:
            value = getattr(workload, name)
        except NotImplementedError:  # AlgoPerf's way to say that there is no such thing
            continue
        if isinstance(value, float | int | str | bool):
            properties[f"workload.{name}"] = value
    return properties


def versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cpu_model_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _gpus(framework: str) -> dict[str, Any]:
    """AlgoPerf's keys of the GPUs that the run computes on; nothing without any."""
    used = backend.load(framework)
    gpus = visible_gpus() if used.on_gpu else []
    return {"gpu_model_name": gpus[0].name, "gpu_count": used.num_devices} if gpus else {}


def _utilization() -> dict[str, Any]:
    memory = psutil.virtual_memory()
    found = {
        "cpu.util.avg_percent_since_last": psutil.cpu_percent(interval=None),
        "mem.total": memory.total,
        "mem.available": memory.available,
        "mem.used": memory.used,
        "mem.percent_used": memory.percent,
    }
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    if frequency is not None:
        found["cpu.freq.current"] = frequency.current
    return found


def _git() -> dict[str, Any]:
    """Branch, commit and whether files differ from it; nothing outside a git checkout."""
    try:
        return {
            "git_branch": _git_output("rev-parse", "--abbrev-ref", "HEAD"),
            "git_commit_hash": _git_output("rev-parse", "HEAD"),
            "git_uncommitted_changes": bool(_git_output("status", "--porcelain")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {}


def _git_output(*args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
