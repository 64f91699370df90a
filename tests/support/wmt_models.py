"""One Transformer of `wmt_small` in both frameworks, and rows for it."""

import functools
from typing import Any

import flax
import jax
import numpy as np
import torch
import wmt_data

from algoperf_api import spec
from workloads_overrides import import_workload
from workloads_overrides.base import param_map
from workloads_overrides.small.wmt import dataset
from workloads_overrides.small.wmt.tokenizer import EOS

TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL

jax_workload: Any = import_workload("wmt_small", "jax")
torch_workload: Any = import_workload("wmt_small", "pytorch")
SIZES = jax_workload.sizes


def perturbed(seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters by PyTorch's names with no zero bias and no scale of one, in float64."""
    rng = np.random.default_rng(seed)
    params, _ = jax_workload.init_model_fn(jax.random.PRNGKey(seed))
    return {
        name: p.astype(np.float64) + (0.1 * p.std() + 0.02) * rng.normal(size=p.shape)
        for name, p in param_map.to_pytorch(jax.device_get(params)).items()
    }


def jax_params(state: dict[str, np.ndarray], dtype: Any = np.float32) -> Any:
    params, _ = jax_workload.init_model_fn(jax.random.PRNGKey(0))
    wide = param_map.to_flax(state, params)
    return jax.tree.map(lambda p: np.asarray(p, dtype), wide)


def torch_model(state: dict[str, np.ndarray], dtype: Any = torch.float32) -> torch.nn.Module:
    model, _ = torch_workload.init_model_fn([0, 0])
    model.to(dtype)
    model.load_state_dict({name: torch.tensor(p).to(dtype) for name, p in state.items()})
    return model


def real_batch(count: int = 8, split: str = "train") -> dict[str, np.ndarray]:
    return dataset.load(wmt_data.data_dir()).splits[split].batch(np.arange(count), None)


def pairs_of(inputs: np.ndarray, targets: np.ndarray) -> list[tuple[list[int], list[int], slice]]:
    """The pairs of one row, with the targets' places in it."""
    sides = [np.split(row, np.flatnonzero(row == EOS) + 1)[:-1] for row in (inputs, targets)]
    ends = np.flatnonzero(targets == EOS) + 1
    return [
        (source.tolist(), target.tolist(), slice(end - len(target), end))
        for source, target, end in zip(*sides, ends, strict=True)
    ]


def spread_rows(start: int = 0, split: str = "test", stride: int = 12) -> dataset.TokenRows:
    """16 rows of a split, of all lengths; others for another start below `stride`."""
    rows = dataset.load(wmt_data.data_dir()).splits[split]
    ids = start + stride * np.arange(16)
    return dataset.TokenRows(rows.inputs[ids], rows.targets[ids])


def mixed_rows() -> dataset.TokenRows:
    """`spread_rows()`, and 16 others, in random order."""
    known, others = spread_rows(), spread_rows(5)
    order = np.random.default_rng(0).permutation(32)
    sides = (known.inputs, others.inputs), (known.targets, others.targets)
    return dataset.TokenRows(*(np.concatenate(side)[order] for side in sides))


@functools.cache
def learnt(steps: int, split: str = "test", stride: int = 12) -> dict[str, np.ndarray]:
    """Parameters after some steps on `spread_rows`: 100 are enough to know them by heart."""
    model, _ = torch_workload.init_model_fn([0, 1])
    batch = to_torch(spread_rows(0, split, stride).batch(np.arange(16), None))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        logits, _ = torch_workload.model_fn(model, batch, None, TRAIN, None, False, 0.0)
        loss = torch_workload.loss_fn(batch["targets"], logits, batch["weights"])
        optimizer.zero_grad()
        (loss["summed"] / loss["n_valid_examples"]).backward()
        optimizer.step()
    return {name: p.detach().numpy().astype(np.float64) for name, p in model.named_parameters()}


def translating() -> dict[str, np.ndarray]:
    """Every ninth of the first 136 validation rows is known by heart, and no other."""
    return learnt(100, "validation", 9)


def to_torch(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor(x).long() if x.dtype.kind == "i" else torch.tensor(x)
        for name, x in batch.items()
    }


def logits(framework: str, params: Any, batch: dict[str, np.ndarray]) -> np.ndarray:
    """In evaluation."""
    if framework == "jax":
        model = jax_workload._model
        apply = jax.jit(lambda p, x, y: model.apply({"params": p}, x, y, False, 0.0))
        return np.asarray(apply(params, batch["inputs"], batch["targets"]))
    out, _ = torch_workload.model_fn(params, to_torch(batch), None, EVAL, None, False)
    return out.numpy()


def named(state: dict[str, np.ndarray], framework: str) -> Any:
    return jax_params(state) if framework == "jax" else torch_model(state)


def flax_leaves(params: Any) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(params, sep=".")
