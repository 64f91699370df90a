"""Step times of imagined V100s that obey the roofline with constants that are known."""

import math

from speed.predict import entries, models
from speed.predict.gpus import GPUS
from speed.predict.roofline import Constants, seconds
from speed.predict.step_times import StepTime
from speed.tensors import tensors

DEVICES = 8
EXPLAINED = 0.49  # share of the peak at which wmt's products would take its whole step
CONSTANTS = Constants(efficiency=math.sqrt(EXPLAINED), launch=2e-6, factorisation=4e11)
ITERATIONS = 50.0
WORKLOADS = ("imagenet_resnet", "imagenet_vit", "ogbg", "wmt")


def step_time(submission: str, workload: str, seconds: float, logs: str = "old") -> StepTime:
    """With a spread of 1 % to either side."""
    return StepTime(
        logs=logs,
        submission=submission,
        workload=workload,
        framework=entries.ENTRIES[submission].framework,
        seconds=seconds,
        mean=1.1 * seconds,
        low=0.99 * seconds,
        high=1.01 * seconds,
        trials=5,
        gpu="Tesla V100-SXM2-16GB",
        devices=DEVICES,
    )


def model_seconds(workload: str) -> float:
    """Of a step of the reference entries: wmt's is its products, others' twice as long."""
    model = models.model(workload)
    products = model.flops * model.batch / DEVICES / GPUS["v100"].peak["fp32"] / EXPLAINED
    return products if workload == "wmt" else 2 * products


def own_seconds(submission: str, workload: str) -> float:
    """Of the optimizer alone."""
    shapes = tensors(workload, entries.ENTRIES[submission].framework)
    if submission == "caspr_adaptive":
        load = entries.caspr_adaptive(shapes, DEVICES, ITERATIONS)
    else:
        load = entries.ENTRIES[submission].load(shapes, DEVICES)
    return seconds(load, GPUS["v100"], DEVICES, CONSTANTS)


def step_times() -> list[StepTime]:
    """Of both references, and of the two entries that are compared with them."""
    rows = []
    for workload in WORKLOADS:
        for reference, compared in (
            ("baseline", "caspr_adaptive"),
            ("schedule_free_adamw", "shampoo_submission"),
        ):
            whole = model_seconds(workload)
            more = own_seconds(compared, workload) - own_seconds(reference, workload)
            rows += [
                step_time(reference, workload, whole),
                step_time(compared, workload, whole + more),
            ]
    return rows
