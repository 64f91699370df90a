"""Parameters of every workload that are worth evaluating: those of `wmt_small` translate."""

from typing import Any

import wmt_models
import workload_cases as cases
from workload_cases import Flat


def values(name: str) -> Flat:
    """Perturbed ones; but translations of such a model are empty, so `wmt_small`'s are trained."""
    if name != "wmt_small":
        return cases.perturbed(name)
    return {tensor: p.astype("float32") for tensor, p in wmt_models.translating().items()}


def model(name: str, framework: str) -> tuple[Any, Any]:
    """(`values` in the framework's parameters, the initial model state)."""
    return cases.container(name, framework, values(name)), cases.initial(name, framework)[1]


def assert_same_metrics(ours: dict[str, float], theirs: dict[str, float], rel: float) -> None:
    """Of such models: BLEU is neither 0 nor 100, so that equal values mean something."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert abs(ours[name] - value) <= rel * abs(value), name
    if "bleu" in theirs:
        assert 0 < theirs["bleu"] < 100
