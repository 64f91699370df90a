"""Batches: their global size, by the workload's name, and which one comes next.

Nothing else in a submission reads the workload's name.
"""

from typing import Any

from algoperf_api import spec

# Official workloads: those of published AlgoPerf entries.
BATCH_SIZES: dict[str, int] = {
    "criteo1tb": 262_144,
    "fastmri": 32,
    "imagenet_resnet": 1024,
    "imagenet_vit": 1024,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "ogbg": 512,
    "wmt": 128,
    "mnist": 16,
    "ogbg_small": 128,
    "wmt_small": 24,
    "c4_small": 16,
    "imagenet_resnet_small": 64,
    "imagenet_vit_small": 64,
}


def get_batch_size(workload_name: str) -> int:
    """The global batch size of a workload; ValueError for an unknown name, as AlgoPerf asks."""
    if workload_name not in BATCH_SIZES:
        raise ValueError(
            f"no batch size for workload {workload_name!r}; known are {', '.join(BATCH_SIZES)}"
        )
    return BATCH_SIZES[workload_name]


def data_selection(
    workload: spec.Workload,
    input_queue: Any,
    optimizer_state: Any,
    current_param_container: Any,
    model_state: Any,
    hyperparameters: Any,
    global_step: int,
    rng: Any,
) -> dict[str, Any]:
    """The next batch."""
    del workload, optimizer_state, current_param_container, model_state, hyperparameters
    del global_step, rng
    return next(input_queue)
