"""Parameters of AlgoPerf's official workloads: names, shapes, types. Facts, read by a script.

One JSON file per workload, written by `scripts/param_shapes.py` from an installed harness; `source`
in it says from which. Nothing else of the harness is needed to read them.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

from algoperf_api.spec import ParameterType

FOLDER = Path(__file__).parent


class Parameter(NamedTuple):
    """One parameter: `path` with / between names in JAX and . in PyTorch, its shape as the
    framework has it, and what `workload.is_output_params` says of it."""

    path: str
    shape: tuple[int, ...]
    type: ParameterType
    is_output: bool


def workloads() -> list[str]:
    """Names of the workloads whose parameters are known."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def load(workload: str, framework: str) -> tuple[Parameter, ...]:
    """All parameters of a workload in `jax` or `pytorch`, in the framework's order.

    Raises:
        ValueError: the workload is unknown.
    """
    if workload not in workloads():
        raise ValueError(f"no shapes of workload {workload!r}; known: {', '.join(workloads())}")
    rows = json.loads((FOLDER / f"{workload}.json").read_text())[framework]
    return tuple(
        Parameter(path, tuple(shape), ParameterType[kind], is_output)
        for path, shape, kind, is_output in rows
    )
