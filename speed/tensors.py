"""The parameters of the models that steps are timed on and memory is estimated for."""

import functools
import json
import re
from pathlib import Path
from typing import NamedTuple

from matprec.layout import ROLES
from submissions.common.roles import role_of
from workloads_overrides import shapes
from workloads_overrides.c4.config import MODELS, SMALL, ModelConfig

# AlgoPerf's official workloads are in `shapes`; the LLaMA models of the C4 workloads are ours.
LLAMA = {"llama_small": SMALL} | {f"llama_{size.lower()}": MODELS[size] for size in MODELS}


class Tensor(NamedTuple):
    """shape: as the framework has it; role: one of `matprec.layout.ROLES`."""

    shape: tuple[int, ...]
    role: str


# Steps are timed without embeddings too, which no method takes for matrices.
WITHOUT_EMBEDDING = {f"{name}_no_embedding": name for name in ("wmt",)}

# So many matrices of so many rows and columns: 100x64x32.
COPIES = re.compile(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)")


class ShapesError(ValueError):
    """A file of shapes cannot be read; the message is one line."""


def models() -> list[str]:
    """Names of the models whose shapes are known."""
    return [*shapes.workloads(), *LLAMA]


def timed_models() -> list[str]:
    """These, and parts of them."""
    return [*models(), *WITHOUT_EMBEDDING]


def tensors(model: str, framework: str) -> tuple[Tensor, ...]:
    """All parameters of a model in `jax` or `pytorch`, as the submissions see them.

    Args:
        model: one of `timed_models`, or a name that `copies` reads, or the path of a JSON file, see
            `from_file`.
        framework: `jax` or `pytorch`.

    Raises:
        ValueError: the model is unknown.
        ShapesError: the file cannot be read.
    """
    if model in LLAMA:
        return llama(LLAMA[model], framework)
    if model in WITHOUT_EMBEDDING:
        every = official(WITHOUT_EMBEDDING[model], framework)
        return tuple(tensor for tensor in every if tensor.role != "embedding")
    if model in shapes.workloads():
        return official(model, framework)
    if found := copies(model):
        number, shape = found
        return (Tensor(shape, "matrix"),) * number
    if model.endswith(".json"):
        return from_file(model, framework)
    raise ValueError(f"unknown model {model!r}; known: {', '.join(timed_models())}")


def copies(model: str) -> tuple[int, tuple[int, int]] | None:
    """(number, shape) of a model of equal matrices, named such as 100x64x32, the shape as the
    framework has it; None for any other name.

    >>> copies("100x64x32")
    (100, (64, 32))
    """
    found = COPIES.fullmatch(model)
    if found is None:
        return None
    number, rows, columns = map(int, found.groups())
    return number, (rows, columns)


def from_file(path: str, framework: str) -> tuple[Tensor, ...]:
    """Of a file with one list per framework of `[shape, role]`, shapes as the framework has them.

    Raises:
        ShapesError: it cannot be read, or a line of it is wrong.
    """
    try:
        rows = json.loads(Path(path).read_text())[framework]
        found = tuple(Tensor(tuple(shape), role) for shape, role in rows)
    except OSError as error:
        raise ShapesError(f"{path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ShapesError(
            f"{path}: not of the form {{{framework!r}: [[shape, role], ...], ...}}: {error}"
        ) from None
    for shape, role in found:
        if role not in ROLES:
            raise ShapesError(f"{path}: role {role!r} is not one of {', '.join(ROLES)}")
        if not all(isinstance(side, int) and side > 0 for side in shape):
            raise ShapesError(f"{path}: {list(shape)} is no shape of positive integers")
    if not found:
        raise ShapesError(f"{path}: no shapes for {framework}")
    return found


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
