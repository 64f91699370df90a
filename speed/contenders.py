"""What can be timed, by name: this project's optimizers, the frameworks' own, and peers."""

from collections.abc import Mapping
from typing import Any

from matprec import settings
from speed.peers import PEERS
from submissions.registry import OPTIMIZERS

# The one that times are divided by comes first.
REFERENCES: dict[str, tuple[str, ...]] = {
    "pytorch": ("torch_adamw_fused", "torch_adamw_foreach"),
    "jax": ("optax_adamw",),
}


def contenders(framework: str) -> list[str]:
    """All names for `jax` or `pytorch` but peers, the references first; of this project's those
    whose mathematics is its own."""
    own = [name for name, optimizer in OPTIMIZERS.items() if optimizer.algorithm is not None]
    return [*REFERENCES[framework], *own]


def family(name: str) -> str:
    """This project's optimizer whose mathematics a contender has, or comes nearest to."""
    if name in PEERS:
        return PEERS[name].family
    return name if name in OPTIMIZERS else "nadamw"


def refreshes(name: str) -> bool:
    """Whether a contender has steps of two kinds."""
    return "refresh_every" in OPTIMIZERS[family(name)].hyperparameters


def own_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some hyperparameters that one of this project's optimizers has."""
    algorithm = OPTIMIZERS[name].algorithm
    assert algorithm is not None
    known = settings.hyperparameters(algorithm)
    return {key: value for key, value in given.items() if key in known}


def is_staggered(name: str, given: Mapping[str, Any]) -> bool:
    """Whether, with these hyperparameters, the refreshes of an optimizer of this project's are
    spread over its steps, which then are of one kind."""
    if name not in OPTIMIZERS:
        return False
    return bool((OPTIMIZERS[name].hyperparameters | own_settings(name, given)).get("stagger"))


def known_settings() -> set[str]:
    """Hyperparameters that any of this project's optimizers has, the interval aside."""
    algorithms = [optimizer.algorithm for optimizer in OPTIMIZERS.values() if optimizer.algorithm]
    return {name for each in algorithms for name in settings.hyperparameters(each)} - {
        "refresh_every"
    }
