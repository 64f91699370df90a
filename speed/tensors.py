"""The parameters of the models that steps are timed on and memory is estimated for."""

import functools
from typing import NamedTuple

from submissions.common.roles import role_of
from workloads_overrides import shapes
from workloads_overrides.c4.config import MODELS, SMALL, ModelConfig

# AlgoPerf's official workloads are in `shapes`; the LLaMA models of the C4 workloads are ours.
LLAMA = {"llama_small": SMALL} | {f"llama_{size.lower()}": MODELS[size] for size in MODELS}


class Tensor(NamedTuple):
    """shape: as the framework has it; role: one of `matprec.layout.ROLES`."""

    shape: tuple[int, ...]
    role: str


def models() -> list[str]:
    """Names of the models whose shapes are known."""
    return [*shapes.workloads(), *LLAMA]


def tensors(model: str, framework: str) -> tuple[Tensor, ...]:
    """All parameters of a model in `jax` or `pytorch`, as the submissions see them.

    Raises:
        ValueError: the model is unknown.
    """
    if model in LLAMA:
        return llama(LLAMA[model], framework)
    if model not in shapes.workloads():
        raise ValueError(f"unknown model {model!r}; known: {', '.join(models())}")
    return official(model, framework)


@functools.cache
def llama(config: ModelConfig, framework: str) -> tuple[Tensor, ...]:
    """Of a model of the C4 workloads."""
    turn = -1 if framework == "pytorch" else 1
    return tuple(
        # flax lays kernels out as (inputs, outputs); embeddings are the same in both.
        Tensor(shape if role in ("embedding", "vector") else shape[::turn], role)
        for shape, role in config.tensors().values()
    )


@functools.cache
def official(workload: str, framework: str) -> tuple[Tensor, ...]:
    """Of one of AlgoPerf's workloads."""
    rows = shapes.load(workload, framework)
    return tuple(Tensor(row.shape, role_of(row.type, row.is_output)) for row in rows)
