"""What this project's optimizers do per device, from their plans and their operations."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matprec import layout, settings
from matprec.algorithms.base import MatrixAlgorithm
from speed.predict.algorithms import build
from speed.predict.roofline import FLOAT_BYTES, Load
from speed.predict.tracing import trace
from speed.tensors import Tensor
from speed.work import of_matrix

# The PyTorch adapter's own part, counted by hand: gradients stacked, tested for being finite and
# cleaned, parameters stacked and decayed, updates scaled, handed out and subtracted.
ADAPTER_ARRAYS = 14  # arrays as large as the parameters that are read or written
ADAPTER_LAUNCHES = 8  # per stack; and one per tensor


@dataclasses.dataclass(frozen=True)
class Cost:
    """step: of every step on each device; refresh: of a refresh, on top; period: steps between
    refreshes, None where there are none."""

    step: Load
    refresh: Load
    period: int | None


def cost(
    name: str,
    tensors: Sequence[Tensor],
    framework: str,
    devices: int,
    hyperparameters: Mapping[str, Any] | None = None,
) -> Cost:
    """Of an optimizer on a model's tensors.

    Args:
      name: of `algorithms.names`.
      tensors: of the model, as `framework` has them.
      framework: `pytorch` runs operation by operation; `jax` is taken to move every array once, as
        if XLA fused perfectly, so that what it moves is a lower bound.
      devices: that share refreshes, stack by stack.
      hyperparameters: others than the defaults.

    Raises:
      ValueError: a hyperparameter is outside its range.
    """
    algorithm, fallback = build(name, hyperparameters or {})
    plan = layout.make_plan(
        [tensor.shape for tensor in tensors],
        [tensor.role for tensor in tensors],
        [(FLOAT_BYTES, "float32")] * len(tensors),
        settings.layout_options(algorithm, "in_out" if framework == "jax" else "out_in", None),
    )
    step, refresh = Load(launches=len(tensors)), Load()
    for stack in plan.stacks:
        chosen = fallback if stack.elementwise else algorithm
        number, (rows, columns) = len(stack.pieces), stack.shape
        share = -(-number // devices)
        work = of_matrix(chosen, rows, columns)
        once, _ = trace(chosen, number, rows, columns)
        _, again = trace(chosen, share, rows, columns)
        if framework == "jax":
            once = dataclasses.replace(once, moved=number * work.step_bytes)
            again = dataclasses.replace(again, moved=share * work.refresh_bytes)
        else:
            adapter = FLOAT_BYTES * ADAPTER_ARRAYS * number * rows * columns
            once += Load(moved=adapter, launches=ADAPTER_LAUNCHES)
        gathered = number * work.refresh_bytes if devices > 1 else 0
        step, refresh = step + once, refresh + again + Load(gathered=gathered)
    period = getattr(algorithm, "refresh_every", None) if refresh.launches else None
    return Cost(step, refresh, period if isinstance(algorithm, MatrixAlgorithm) else None)
