"""Workloads written against AlgoPerf's Workload API and registered from outside."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DataError
from .names import FRAMEWORKS, SMALL_WORKLOADS, WORKLOADS, canonical
from .register import register

if TYPE_CHECKING:
    from algoperf_api import spec


def import_workload(name: str, framework: str) -> "spec.Workload":
    """A new instance of workload `name` for 'jax' or 'pytorch'; imports only that framework.

    Raises ValueError for an unknown name or framework.
    """
    path = _workload_path(name)
    if framework not in FRAMEWORKS:
        raise ValueError(f"unknown framework {framework!r}; allowed: {', '.join(FRAMEWORKS)}")
    module = importlib.import_module(f".{path}_{framework}.workload", __name__)
    return getattr(module, WORKLOADS[name]["workload_class_name"])()


def prepare_data(
    name: str,
    data_dir: str | Path,
    progress: Callable[[str, float], None] | None = None,
    rows: Mapping[str, int] | None = None,
) -> None:
    """Prepares the data of workload `name` in `data_dir` once; later calls find it and return.

    Of the C4 workloads of full size it only checks that `scripts/prepare_c4.py` has prepared it,
    and enough of it for `rows` of 'train', 'validation' and 'test'; None: for the workload's own
    numbers. Nothing half-prepared is ever visible, whatever interrupts it, and processes may call
    it at the same time. `progress` is called with what is being done and the fraction done so far.
    Raises ValueError for an unknown name, DataError (one line) if the data cannot be had.
    """
    folder = _workload_path(name).rpartition(".")[0]
    module = importlib.import_module(f".{folder}.prepare", __name__)
    if name in SMALL_WORKLOADS:
        module.prepare(data_dir, progress)
    else:
        module.check(name, data_dir, progress, rows)


def _workload_path(name: str) -> str:
    if name not in WORKLOADS:
        raise ValueError(f"unknown workload {name!r}; allowed: {', '.join(WORKLOADS)}")
    return WORKLOADS[name]["workload_path"].replace("/", ".")


__all__ = [
    "FRAMEWORKS",
    "SMALL_WORKLOADS",
    "WORKLOADS",
    "DataError",
    "canonical",
    "import_workload",
    "prepare_data",
    "register",
]
