"""Seconds of a training step on a machine: of the model, and of an optimizer's load beside it."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from speed.predict import entries, models
from speed.predict.calibrate import Calibration, Range
from speed.predict.gpus import GPUS, Gpu
from speed.predict.roofline import Constants, Load, seconds
from speed.predict.step_times import StepTime
from speed.tensors import LLAMA, tensors

# Of which models without logs are taken to have as much rest per product.
RELATIVE = "wmt"


class NoReference(Exception):
    """The calibration's logs have no step of this model; the message is one line."""


@dataclass(frozen=True)
class Machine:
    """`devices` equal GPUs."""

    gpu: Gpu
    devices: int


class Case(NamedTuple):
    """One choice of what is not known.

    Attributes:
      constants: of the roofline.
      by_memory: whether the rest of a model scales with memory bandwidth and devices, or not at
        all.
    """

    constants: Constants
    by_memory: bool


def middle(calibration: Calibration) -> Case:
    """What predictions are made with."""
    values = (calibration.efficiency, calibration.launch, calibration.factorisation)
    return Case(Constants(*(value.middle for value in values)), True)


def corners(calibration: Calibration) -> Iterator[Case]:
    """All combinations of extremes; no probability is attached to them."""
    launches, rates = (
        (value.least, value.most) for value in (calibration.launch, calibration.factorisation)
    )
    for efficiency, launch, rate, by_memory in itertools.product(
        calibration.efficiency, launches, rates, (True, False)
    ):
        yield Case(Constants(efficiency, launch, rate), by_memory)


def between(calibration: Calibration, predict: Callable[[Case], float]) -> Range:
    """`predict` of the middle case, and its extremes over it and all corners."""
    value = predict(middle(calibration))
    values = [value, *map(predict, corners(calibration))]
    return Range(min(values), value, max(values))


def model_seconds(
    calibration: Calibration,
    workload: str,
    framework: str,
    machine: Machine,
    case: Case,
    *,
    batch: int | None = None,
    logs: str | None = None,
) -> float:
    """Of a forward and backward pass.

    Args:
      calibration: whose references the rest is taken from.
      workload: of `models.known`.
      framework: `jax` or `pytorch`.
      machine: that is predicted for.
      case: of what is not known.
      batch: over all devices; the baseline's if None.
      logs: the reference's; the newest if None.

    Raises:
      NoReference: there is none.
    """
    model = models.model(workload)
    batch = model.batch if batch is None else batch
    gpu = machine.gpu
    speed = case.constants.efficiency * gpu.peak[gpu.model_precision]
    products = model.flops * batch / machine.devices / speed
    found = reference(calibration, workload, framework, logs)
    v100, there = GPUS["v100"], found.devices
    entry = entries.ENTRIES[found.submission]
    examples = entry.batch(found.workload)
    flops = models.model(found.workload).flops * examples
    rest = (
        found.seconds
        - flops / there / (case.constants.efficiency * v100.peak[v100.model_precision])
        - seconds(_entry_load(found.submission, found.workload, there), v100, there, case.constants)
    )
    # As much more as there are examples, or for another model products.
    size = model.flops * batch / flops if found.workload != workload else batch / examples
    if case.by_memory:
        size *= v100.bandwidth * there / (gpu.bandwidth * machine.devices)
    return products + max(0.0, rest) * size


def reference(
    calibration: Calibration, workload: str, framework: str, logs: str | None = None
) -> StepTime:
    """The newest row of this model; for a LLaMA model, of the one that it is taken to be like."""
    wanted = RELATIVE if workload in LLAMA else workload
    found = [
        row
        for row in calibration.references
        if (row.workload, row.framework) == (wanted, framework) and logs in (None, row.logs)
    ]
    if not found:
        raise NoReference(f"no V100 step of {wanted} in {framework} to start from")
    return found[-1]


@functools.lru_cache(maxsize=4096)
def _entry_load(name: str, workload: str, devices: int, iterations: float = 0.0) -> Load:
    entry = entries.ENTRIES[name]
    shapes = tensors(workload, entry.framework)
    if name == "caspr_adaptive":
        return entries.caspr_adaptive(shapes, devices, iterations)
    return entry.load(shapes, devices)


def entry_seconds(
    name: str, workload: str, machine: Machine, case: Case, caspr_iterations: float
) -> float:
    """Of a published entry's optimizer in an average step."""
    load = _entry_load(name, workload, machine.devices, caspr_iterations)
    own = entries.ENTRIES[name].precision
    # V100s have no bf16, and no entry here was run with it there.
    peaks = machine.gpu.peak
    precision = own if own is not None and own in peaks else machine.gpu.model_precision
    return seconds(load, machine.gpu, machine.devices, case.constants, precision)
