"""The optimizers whose costs are predicted."""

from collections.abc import Mapping
from typing import Any

from matprec import settings
from matprec.algorithms.base import Algorithm
from submissions.registry import OPTIMIZERS


def names() -> list[str]:
    """Of the optimizers whose mathematics is this project's."""
    return [name for name, optimizer in OPTIMIZERS.items() if optimizer.algorithm is not None]


def build(name: str, hyperparameters: Mapping[str, Any]) -> tuple[Algorithm, Algorithm]:
    """(algorithm, fallback) with those of the hyperparameters that they have.

    Raises:
      ValueError: a hyperparameter is outside its range.
    """
    algorithm_class = OPTIMIZERS[name].algorithm
    assert algorithm_class is not None
    return settings.build(algorithm_class, dict(hyperparameters))
