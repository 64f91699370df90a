"""Budgets of the C4 workloads before they are measured: floating-point operations over a rate.

A training step multiplies every entry of a matrix six times per token (forward, gradients of inputs
and of weights, a multiplication and an addition each), the embedding excepted, and attention takes
12 * layers * hidden * context more; see Hoffmann et al. (arXiv 2203.15556), appendix F. The rates
are estimates, and so is what follows from them: `scripts/set_targets.py` measures.
"""

import dataclasses
import math

from .sizes import TRAIN_BATCH_SIZE, Size

# AlgoPerf allows 4/3 of the time of its own target-setting runs.
_ALLOWANCE = 4 / 3
_FORWARD_SHARE = 1 / 3


@dataclasses.dataclass(frozen=True)
class Rate:
    """What a rule set's machine is taken to do, operations per second, and where that is from."""

    flops: float
    source: str


RATES: dict[str, Rate] = {
    "2026_4xA100": Rate(
        185e12,
        "4x A100, bfloat16: AlgoPerf's finewebedu_lm takes 0.41 to 0.45 s per step of 64 x 1024 "
        "tokens (pull request 892) if it has the 177 million parameters that it is said to have; "
        "with the 253 million of the stored code the rate would be 260e12 and all times 0.7 of it",
    ),
    "v0.6_8xV100": Rate(
        62.8e12,
        "8x V100, float32 for want of bfloat16: half of the 15.7e12 per GPU of NVIDIA's data sheet",
    ),
}


def step_flops(size: Size) -> float:
    """Floating-point operations of a training step of 512 rows, the optimizer's left out."""
    model = size.model
    matrices = sum(
        math.prod(tensor.shape)
        for tensor in model.tensors().values()
        if tensor.role in ("matrix", "head")
    )
    attention = 12 * model.layers * model.hidden * size.context_length
    return (6 * matrices + attention) * TRAIN_BATCH_SIZE * size.context_length


def step_seconds(size: Size, rate: Rate) -> float:
    return step_flops(size) / rate.flops


def allowed_seconds(size: Size, rate: Rate) -> float:
    """`max_allowed_runtime_sec`: the published number of steps, and a third more."""
    return _ALLOWANCE * size.steps * step_seconds(size, rate)


def evaluation_seconds(size: Size, rate: Rate) -> float:
    """Of one evaluation: a forward pass, a third of a step's work, over all three splits."""
    rows = size.eval_train_rows + size.validation_rows + size.test_rows
    return _FORWARD_SHARE * step_seconds(size, rate) * rows / TRAIN_BATCH_SIZE
