"""One step and one evaluation of a large C4 workload with a tiny model, on all devices there are.

`c4_device_steps.py FRAMEWORK FOLDER`, alone, with several JAX devices, or as one of several ranks.
FOLDER has the data, and `params.npz` with parameters by PyTorch's name; the outcome is written into
it as `FRAMEWORK_RANK.pkl`. Imports one framework only.
"""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {
    "context_length": 16,
    "train_rows": 60,
    "eval_train_rows": 20,
    "validation_rows": 21,
    "test_rows": 5,
    "eval_rows_per_batch": 8,
}
DATA_RNG = np.array([3, 14], np.uint32)
BATCH = 12


def tiny(framework: str) -> Any:
    """The 60M workload with a tiny model, and small splits."""
    from workloads_overrides import import_workload
    from workloads_overrides.c4.config import ModelConfig

    workload: Any = import_workload("c4_60m", framework)
    model = ModelConfig(hidden=32, ffn=88, layers=2, heads=4, vocab=258)
    for name, value in {**SIZES, "model_config": model}.items():
        setattr(workload, name, value)
    return workload


def results(framework: str, folder: Path) -> dict[str, Any]:
    """The global batch's logits and loss, its gradients, an evaluation, and sizes of shares."""
    values = dict(np.load(folder / "params.npz"))
    return (_jax if framework == "jax" else _torch)(tiny(framework), values, str(folder))


def _jax(workload: Any, values: dict[str, np.ndarray], data_dir: str) -> dict[str, Any]:
    import jax

    from algoperf_api import jax_sharding_utils, spec
    from workloads_overrides.base import param_map

    like, _ = workload.init_model_fn(jax.random.PRNGKey(0))
    params = param_map.to_flax(values, like, workload.pytorch_name)
    params = jax_sharding_utils.replicate(params)
    batch = next(workload._build_input_queue(DATA_RNG, "train", data_dir, BATCH))

    @jax.jit
    def step(params: Any, batch: Any) -> Any:
        def mean_loss(params: Any) -> Any:
            mode, key = spec.ForwardPassMode.TRAIN, jax.random.PRNGKey(0)
            logits, _ = workload.model_fn(params, batch, None, mode, key, True)
            loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
            return loss["summed"] / loss["n_valid_examples"], logits

        return jax.value_and_grad(mean_loss, has_aux=True)(params)

    (loss, logits), grads = step(params, batch)
    args = ("validation", 21, 8, params, None, None, data_dir)
    return {
        "logits": np.asarray(logits),
        "loss": float(loss),
        "grads": param_map.to_pytorch(jax.device_get(grads), workload.pytorch_name),
        "metrics": workload._eval_model_on_split(*args),
        "share": batch["inputs"].addressable_shards[0].data.shape[0],
        "read": BATCH,
    }


def _torch(workload: Any, values: dict[str, np.ndarray], data_dir: str) -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    from algoperf_api import spec
    from workloads_overrides.base.pytorch_workload import gather

    model, _ = workload.init_model_fn(np.array([1, 2]))
    bare = getattr(model, "module", model)
    bare.load_state_dict({name: torch.tensor(array) for name, array in values.items()})
    rows, read = workload._rows("train", data_dir), []
    take = rows._shards.take
    rows._shards.take = lambda starts, length: read.append(len(starts)) or take(starts, length)
    batch = next(workload._build_input_queue(DATA_RNG, "train", data_dir, BATCH))
    ranks = dist.get_world_size() if dist.is_initialized() else 1

    def step(model: Any) -> tuple[Any, float, dict[str, np.ndarray]]:
        model.zero_grad()
        mode = spec.ForwardPassMode.TRAIN
        logits, _ = workload.model_fn(model, batch, None, mode, None, True)
        loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
        sums = torch.stack([loss["summed"].detach(), loss["n_valid_examples"]])
        if ranks > 1:
            dist.all_reduce(sums)
        (loss["summed"] * ranks / sums[1]).backward()  # DDP averages over the ranks
        grads = {name: p.grad.numpy().copy() for name, p in bare.named_parameters()}
        return gather(logits.detach()).numpy(), (sums[0] / sums[1]).item(), grads

    logits, loss, grads = step(model)
    compiled = torch.compile(model, backend="eager")
    args = ("validation", 21, 8, model, None, None, data_dir)
    return {
        "logits": logits,
        "loss": loss,
        "grads": grads,
        "metrics": workload._eval_model_on_split(*args),
        "share": len(batch["inputs"]),
        "read": read[0],
        "compiled": step(compiled),
        "names": [name for name, _ in compiled.named_parameters()],
        "heads": [n for n, _ in compiled.named_parameters() if workload.is_output_params(n)],
    }


def main(framework: str, folder: str) -> None:
    rank = os.environ.get("RANK")
    if rank is not None:
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    outcome = results(framework, Path(folder))
    Path(folder, f"{framework}_{rank or 0}.pkl").write_bytes(pickle.dumps(outcome))
    if rank is not None:
        dist.destroy_process_group()
