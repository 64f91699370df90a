"""What the contract tests know of the registry's optimizers, derived from registry and classes.

`NAMES` are the optimizers whose mathematics is this project's; the rest of the registry is the
frameworks' own and has nothing here. No optimizer is named in this file.
"""

import dataclasses
import functools
import importlib
import inspect
from pathlib import Path
from typing import Any

import array_api_compat.torch
import numpy as np
import stacks
import torch

from matprec import step as stepping
from matprec.algorithms import Algorithm
from submissions.registry import OPTIMIZERS

ROOT = Path(__file__).resolve().parents[2]

ALGORITHMS: dict[str, type[Algorithm]] = {
    name: optimizer.algorithm for name, optimizer in OPTIMIZERS.items() if optimizer.algorithm
}
NAMES = tuple(ALGORITHMS)
MATRIX_NAMES = tuple(name for name in NAMES if not ALGORITHMS[name].elementwise)
REFRESHING_NAMES = tuple(name for name in NAMES if ALGORITHMS[name].refresh_at != "never")

# One optimizer for every way in which a step may go, for tests of the adapters alone.
REPRESENTATIVES = tuple(
    {(cls.elementwise, cls.refresh_at): name for name, cls in reversed(ALGORITHMS.items())}.values()
)


def alias(name: str) -> Any:
    """The function of `matprec.jax`."""
    return getattr(importlib.import_module("matprec.jax"), name)


def torch_class(name: str) -> Any:
    """The class of `matprec.torch`."""
    return getattr(importlib.import_module("matprec.torch"), ALGORITHMS[name].__name__)


@functools.cache
def references() -> dict[str, type[Any]]:
    """The optimizers among the NumPy references, by the names of their classes."""
    base = importlib.import_module("reference.optimizers").Optimizer
    found: dict[str, type[Any]] = {}
    for file in sorted((ROOT / "tests" / "reference").glob("*.py")):
        if file.stem.startswith("test_"):
            continue
        module = importlib.import_module(f"reference.{file.stem}")
        for name, value in vars(module).items():
            mine = isinstance(value, type) and value.__module__ == module.__name__
            if mine and issubclass(value, base):
                assert name not in found, f"two references are called {name}"
                found[name] = value
    return found


def reference(name: str) -> type[Any]:
    """The NumPy reference."""
    return references()[ALGORITHMS[name].__name__]


def reference_parameters(cls: type[Any]) -> dict[str, Any]:
    """Names and defaults of what a reference takes, its base's too where it passes them on."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            own = list(inspect.signature(base.__init__).parameters.values())[1:]
            named = [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            found = {p.name: p.default for p in named} | found
            if named == own:
                break
    return found


def defaults(name: str) -> dict[str, Any]:
    """The algorithm's own hyperparameters."""
    return {field.name: field.default for field in dataclasses.fields(ALGORITHMS[name])}


def decays(name: str) -> dict[str, float]:
    """Its first and second moments' decays, by the names it has for them."""
    names = ("beta1", "momentum", "beta2")
    return {key: value for key, value in defaults(name).items() if key in names and value}


def quick(name: str, every: int = 2, **settings: Any) -> dict[str, Any]:
    """`settings`, with several refreshes within a few steps where there are refreshes at all."""
    if name not in REFRESHING_NAMES:
        return settings
    return {"refresh_every": min(every, defaults(name)["refresh_every"])} | settings


def idle_steps(name: str) -> int:
    """Steps in which a new matrix only gathers statistics, without update and decay.

    A basis that is found after the step has none to offer in the first.
    """
    return int(ALGORITHMS[name].refresh_at == "end")


def state_of_matrix(name: str, shape: tuple[int, int], **settings: Any) -> dict[str, torch.Tensor]:
    """State for one matrix, without the leading axis and the counters."""
    algorithm = ALGORITHMS[name](**settings)
    state = stepping.init(array_api_compat.torch, algorithm, torch.zeros(1, *shape))
    return {key: value[0] for key, value in state.items() if key not in stepping.COUNTERS}


def turns_both_sides(name: str) -> bool:
    """Whether bases of both sides of a matrix are kept."""
    return sum(key.endswith("_basis") for key in state_of_matrix(name, (3, 4))) == 2


def undamped_orders(name: str, shape: tuple[int, int], **settings: Any) -> list[int]:
    """Orders of the bases, and of the roots without a noticeable ridge, of one matrix.

    A gradient of rank one leaves such a root with entries of the size of one over rounding errors.
    """
    if name not in REFRESHING_NAMES:
        return []
    algorithm = ALGORITHMS[name](**settings | {"start_step": 1})
    _, (state,) = stacks.run(array_api_compat.torch, algorithm, [np.ones((1, *shape))])
    return [
        x.shape[1]
        for key, x in state.items()
        if key.endswith("_basis") or (key.endswith("root") and np.max(np.abs(x)) > 1e6)
    ]
