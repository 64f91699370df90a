"""Batches: their global size, by the workload's name, and which one comes next.

Nothing else in a submission reads the workload's name.
"""

from collections.abc import Callable, Mapping
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
    "finewebedu_lm": 64,
    "mnist": 16,
    # The LLaMA / C4 workloads: GaLore's (arXiv 2403.03507).
    "c4_60m": 512,
    "c4_130m": 512,
    "c4_350m": 512,
    "c4": 512,
    # This project's own, for a CPU.
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


def cut(batch: Any, number: int, num_devices: int = 1) -> Any:
    """A batch's arrays (B, ...) as (number, B / number, ...), for gradient accumulation.

    Part i has the rows i, i + number, ..., so that every device keeps its own rows.

    Args:
      batch: dicts, lists and tuples of arrays of either framework.
      num_devices: that share the arrays by their leading axis.

    Raises:
      ValueError: arrays differ in length, as those of graphs do, or it is not divisible.
    """
    lengths: set[int] = set()
    _map(lambda array: lengths.add(array.shape[0] if array.shape else 0), batch)
    if len(lengths) > 1 or min(lengths) % (number * num_devices) or 0 in lengths:
        found = ", ".join(map(str, sorted(lengths)))
        raise ValueError(
            f"gradient_accumulation_steps={number}: cannot cut a batch whose arrays have length "
            f"{found} on {num_devices} device(s); allowed: one length, a multiple of "
            f"{number * num_devices}"
        )
    return _map(lambda x: x.reshape((-1, number, *x.shape[1:])).swapaxes(0, 1), batch)


def part_of(parts: Any, index: int) -> Any:
    """Part `index` of what `cut` gave."""
    return _map(lambda array: array[index], parts)


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        values = [_map(function, value) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return None if tree is None else function(tree)
