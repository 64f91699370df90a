"""How an optimizer of this project lays the tensors of a model out."""

from collections.abc import Mapping, Sequence
from typing import Any

from matprec import layout, settings
from matprec.algorithms.base import Algorithm
from speed.tensors import Tensor
from submissions.registry import OPTIMIZERS

FLOAT_BYTES = 4
WEIGHT_LAYOUT: dict[str, layout.WeightLayout] = {"jax": "in_out", "pytorch": "out_in"}


def algorithms(name: str, values: Mapping[str, Any] | None = None) -> tuple[Algorithm, Algorithm]:
    """An optimizer's algorithm, and what it does with tensors that are not matrices; `values`: of
    hyperparameters that are not at their defaults."""
    algorithm_class = OPTIMIZERS[name].algorithm
    assert algorithm_class is not None
    return settings.build(algorithm_class, dict(values or {}))


def plan(
    name: str,
    tensors: Sequence[Tensor],
    framework: str,
    values: Mapping[str, Any] | None = None,
) -> layout.Plan:
    """Stacks of float32 matrices of the size that the adapters choose on a CPU."""
    stack_bytes = layout.CPU_STACK_BYTES if framework == "pytorch" else None
    return layout.make_plan(
        [tensor.shape for tensor in tensors],
        [tensor.role for tensor in tensors],
        [(FLOAT_BYTES, "float32")] * len(tensors),
        settings.layout_options(algorithms(name, values)[0], WEIGHT_LAYOUT[framework], stack_bytes),
    )


def matrices(name: str, tensors: Sequence[Tensor], framework: str) -> list[bool]:
    """Per tensor, whether the optimizer takes it for one or more matrices."""
    stacks = plan(name, tensors, framework).stacks
    found = {owner for stack in stacks if not stack.elementwise for owner in stack.owners}
    return [number in found for number in range(len(tensors))]
