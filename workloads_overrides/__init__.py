"""Workloads written against AlgoPerf's Workload API and registered from outside."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DataError
from .register import register

if TYPE_CHECKING:
    from algoperf_api import spec

FRAMEWORKS: tuple[str, ...] = ("jax", "pytorch")

# AlgoPerf's own format. A workload's folder also holds `prepare.py` with
# `prepare(data_dir, progress)`.
WORKLOADS: dict[str, dict] = {
    "ogbg_small": {
        "workload_path": "small/ogbg/ogbg",
        "workload_class_name": "OgbgSmallWorkload",
    },
    "wmt_small": {
        "workload_path": "small/wmt/wmt",
        "workload_class_name": "WmtSmallWorkload",
    },
    "c4_small": {
        "workload_path": "small/c4/c4",
        "workload_class_name": "C4SmallWorkload",
    },
    "imagenet_resnet_small": {
        "workload_path": "small/imagenet_resnet/imagenet_resnet",
        "workload_class_name": "ImagenetResnetSmallWorkload",
    },
    "imagenet_vit_small": {
        "workload_path": "small/imagenet_vit/imagenet_vit",
        "workload_class_name": "ImagenetVitSmallWorkload",
    },
}


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
    name: str, data_dir: str | Path, progress: Callable[[str, float], None] | None = None
) -> None:
    """Prepares the data of workload `name` in `data_dir` once; later calls find it and return.

    Nothing half-prepared is ever visible, whatever interrupts it, and processes may call it at
    the same time. `progress` is called with what is being done and the fraction done so far.
    Raises ValueError for an unknown name, DataError (one line) if the data cannot be had.
    """
    folder = _workload_path(name).rpartition(".")[0]
    importlib.import_module(f".{folder}.prepare", __name__).prepare(data_dir, progress)


def _workload_path(name: str) -> str:
    if name not in WORKLOADS:
        raise ValueError(f"unknown workload {name!r}; allowed: {', '.join(WORKLOADS)}")
    return WORKLOADS[name]["workload_path"].replace("/", ".")


__all__ = ["FRAMEWORKS", "WORKLOADS", "DataError", "import_workload", "prepare_data", "register"]
