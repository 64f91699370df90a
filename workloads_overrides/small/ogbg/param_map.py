"""One model's parameters under the names and in the layout of the other framework, in NumPy.

The modules have the same names in both. flax: nested dicts, leaves `kernel` (in, out), `scale`,
`bias`. PyTorch: dotted names, leaves `weight` (a matrix is (out, in)) and `bias`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

FlaxParams = Mapping[str, Any]  # nested, with arrays at the leaves


def to_pytorch(params: FlaxParams, prefix: str = "") -> dict[str, np.ndarray]:
    """A state dict's content, from flax parameters or gradients."""
    state: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            state |= to_pytorch(value, f"{prefix}{name}.")
        else:
            leaf = "bias" if name == "bias" else "weight"
            array = np.asarray(value)
            state[prefix + leaf] = array.T if name == "kernel" else array
    return state


def to_flax(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """flax parameters, from a state dict's (or gradients') content."""
    params: dict[str, Any] = {}
    for name, array in state.items():
        *modules, leaf = name.split(".")
        node = params
        for module in modules:
            node = node.setdefault(module, {})
        if leaf == "weight":
            leaf = "kernel" if array.ndim == 2 else "scale"
        node[leaf] = array.T if leaf == "kernel" else array
    return params
