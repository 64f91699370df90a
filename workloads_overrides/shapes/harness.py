"""Reads the parameters of official workloads from an installed AlgoPerf harness."""

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from algoperf_api import HAS_ALGOPERF

WORKLOADS = (
    "criteo1tb",
    "fastmri",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "ogbg",
    "wmt",
)
REPOSITORY = "https://github.com/mlcommons/algorithmic-efficiency"

Row = tuple[str, list[int], str, bool]


def read(name: str, framework: str) -> list[Row]:
    """(path, shape, name of the ParameterType, is_output) of every parameter.

    JAX initialises no array; PyTorch builds the model, on its default device.

    Raises:
        ModuleNotFoundError: there is no harness.
    """
    workload = _make(name, framework)
    return _read_jax(workload) if framework == "jax" else _read_pytorch(workload)


def write(name: str, folder: Path, commit: str) -> Path:
    """Writes the file of a workload, one parameter per line; `commit` is the harness's."""
    tables = {framework: read(name, framework) for framework in ("jax", "pytorch")}
    source = {"repository": REPOSITORY, "commit": commit} | {
        package: importlib.metadata.version(package)
        for package in ("algoperf", "jax", "flax", "torch")
    }
    parts = [f'"source": {json.dumps(source)}']
    for framework, rows in tables.items():
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        parts.append(f'"{framework}": [\n{lines}\n]')
    path = folder / f"{name}.json"
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    return path


def _make(name: str, framework: str) -> Any:
    if not HAS_ALGOPERF:
        raise ModuleNotFoundError("algoperf is not installed")
    registry = importlib.import_module("algoperf.workloads.workloads")
    entry = registry.WORKLOADS[name]
    path = f"{registry.BASE_WORKLOADS_DIR}{entry['workload_path']}_{framework}/workload.py"
    return registry.import_workload(path, entry["workload_class_name"], workload_init_kwargs={})


def _read_jax(workload: Any) -> list[Row]:
    import jax

    # Sets the workload's shapes and types on the way.
    params, _ = jax.eval_shape(workload.init_model_fn, jax.random.key(0))
    # The types' tree has lower-cased keys, and so another order than the parameters'.
    types = {
        _path(path): kind
        for path, kind in jax.tree_util.tree_leaves_with_path(workload.model_params_types)
    }
    return [
        (
            _path(path),
            list(leaf.shape),
            types[_path(path).lower()].name,
            # AlgoPerf names output layers in JAX by their top-level module.
            bool(workload.is_output_params(_path(path).split("/")[0])),
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]


def _path(path: Any) -> str:
    return "/".join(entry.key for entry in path)


def _read_pytorch(workload: Any) -> list[Row]:
    model, _ = workload.init_model_fn([0, 0])
    types = workload.model_params_types
    rows = []
    for name, parameter in model.named_parameters():
        name = name.removeprefix("module.")
        is_output = bool(workload.is_output_params(name))
        rows.append((name, list(parameter.shape), types[name].name, is_output))
    return rows
