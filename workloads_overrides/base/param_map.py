"""One model's parameters under the names and in the layout of the other framework, in NumPy.

flax: nested dicts with leaves `kernel` ((in, out), convolutions (h, w, in, out)), `embedding`,
`scale` and `bias`. PyTorch: dotted names with leaves `weight` ((out, in), convolutions
(out, in, h, w)) and `bias`. Modules have the same names in both, up to a renaming.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

FlaxParams = Mapping[str, Any]  # nested, with arrays at the leaves
Rename = Callable[[str], str]  # a flax module's dotted name to PyTorch's

# The last two are running statistics of batch norms: flax's `batch_stats`, PyTorch's buffers.
_LEAVES = {"bias": "bias", "mean": "running_mean", "var": "running_var"}


def to_pytorch(params: FlaxParams, rename: Rename = str) -> dict[str, np.ndarray]:
    """A state dict's content, from flax parameters or gradients."""
    return {
        _torch_name(path, rename): _turned(path, np.asarray(leaf)) for path, leaf in _leaves(params)
    }


def to_flax(
    state: Mapping[str, np.ndarray], like: FlaxParams, rename: Rename = str
) -> dict[str, Any]:
    """flax parameters with the names of `like`, from a state dict's (or gradients') content."""
    params: dict[str, Any] = {}
    for path, _ in _leaves(like):
        node = params
        for module in path[:-1]:
            node = node.setdefault(module, {})
        array = np.asarray(state[_torch_name(path, rename)])
        node[path[-1]] = _turned(path, array, back=True)
    return params


def _leaves(params: FlaxParams, prefix: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for name, value in params.items():
        path = (*prefix, name)
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _torch_name(path: tuple[str, ...], rename: Rename) -> str:
    leaf = _LEAVES.get(path[-1], "weight")
    return f"{rename('.'.join(path[:-1]))}.{leaf}"


def _turned(path: tuple[str, ...], array: np.ndarray, back: bool = False) -> np.ndarray:
    if path[-1] != "kernel":
        return array
    if array.ndim == 2:
        return array.T
    return array.transpose((2, 3, 1, 0) if back else (3, 2, 0, 1))
