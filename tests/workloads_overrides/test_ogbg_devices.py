"""The same results on several devices as on one: 8 virtual JAX devices, 2 PyTorch processes."""

import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

from algoperf_api import random_utils, spec
from workloads_overrides.base import param_map
from workloads_overrides.small.ogbg import batching

EXAMPLES, BATCH = 200, 64
DATA_RNG = np.array([1, 2])

JAX_CODE = """
import json, sys
import jax
import numpy as np
from algoperf_api import spec
from workloads_overrides import import_workload

data_dir, params_file, examples, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
assert jax.device_count() == 8
workload = import_workload("ogbg_small", "jax")
workload.init_model_fn(jax.random.PRNGKey(0))
with np.load(params_file) as arrays:
    tree = jax.tree.structure(workload.model_params_types)
    params = jax.tree.unflatten(tree, list(arrays.values()))
metrics = workload._eval_model_on_split("validation", examples, size, params, None, None, data_dir)
batch = next(workload._build_input_queue(np.array([1, 2]), "train", data_dir, size))
for leaf in jax.tree.leaves(batch):
    assert len(leaf.sharding.device_set) == 8
    assert leaf.addressable_shards[0].data.shape[0] * 8 == leaf.shape[0]

@jax.jit
def loss(params):
    mode = spec.ForwardPassMode.EVAL
    logits, _ = workload.model_fn(params, batch, None, mode, None, False)
    return workload.loss_fn(batch["targets"], logits, batch["weights"])

result = loss(params)
print(json.dumps(metrics | {name: float(result[name]) for name in ("summed", "n_valid_examples")}))
"""

TORCH_CODE = """
import sys
import numpy as np
import torch
import torch.distributed as dist
from algoperf_api import spec
from workloads_overrides import import_workload

data_dir, folder, examples, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
torch.set_num_threads(1)
dist.init_process_group("gloo")
workload = import_workload("ogbg_small", "pytorch")
model, _ = workload.init_model_fn([1, 2])
model.module.load_state_dict(torch.load(f"{folder}/state.pt"))
metrics = workload._eval_model_on_split("validation", examples, size, model, None, None, data_dir)
batch = next(workload._build_input_queue(np.array([1, 2]), "train", data_dir, size))
assert len(batch["targets"]) == size // 2 + 1
mode = spec.ForwardPassMode.TRAIN
logits, _ = workload.model_fn(model, batch, None, mode, None, False, dropout_rate=0.0)
loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
loss["summed"].backward()  # DDP averages over the ranks
for name in ("summed", "n_valid_examples"):
    value = loss[name].detach()
    dist.all_reduce(value)
    metrics[name] = value.item()
grads = {name: 2 * p.grad for name, p in model.module.named_parameters()}
torch.save((metrics, grads), f"{folder}/rank{dist.get_rank()}.pt")
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def params(jax_workload):
    return jax_workload.init_model_fn(jax.random.PRNGKey(0))[0]


def merged_batch(molecules, num_shards):
    """The first training batch cut for `num_shards` devices, put together in one shard."""
    capacity = batching.shard_capacity(molecules, BATCH, num_shards)
    seed = random_utils.seed_from_rng(DATA_RNG)
    ids = molecules.split_range("train")
    shards = next(batching.train_shards(molecules, ids, seed, capacity, num_shards))
    room = batching.Capacity.of(molecules, 2 * BATCH)
    return batching.make_batch(molecules, [np.concatenate(shards)], room)


def test_eight_jax_devices(jax_workload, params, data_dir, molecules, tmp_path, request):
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(params))}
    np.savez(tmp_path / "params.npz", **leaves)
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    arguments = [data_dir, tmp_path / "params.npz", EXAMPLES, BATCH]
    run = subprocess.run(
        [sys.executable, "-c", JAX_CODE, *map(str, arguments)],
        env=os.environ | flags,
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected = jax_workload._eval_model_on_split(
        "validation", EXAMPLES, BATCH, params, None, None, str(data_dir)
    )
    batch = merged_batch(molecules, 8)
    rows = jax_workload._eval_arrays(params, batch, None, None)
    logits, losses = rows["logits"], rows["losses"]
    assert np.isfinite(logits).all()
    expected |= {"summed": float(losses.sum()), "n_valid_examples": batch["weights"].sum()}
    assert json.loads(run.stdout) == pytest.approx(expected, rel=1e-5)


def test_two_pytorch_processes(torch_workload, params, data_dir, molecules, tmp_path, request):
    model, _ = torch_workload.init_model_fn([1, 2])
    state = {name: torch.tensor(array) for name, array in param_map.to_pytorch(params).items()}
    model.load_state_dict(state)
    torch.save(state, tmp_path / "state.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    arguments = [data_dir, tmp_path, EXAMPLES, BATCH]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TORCH_CODE, *map(str, arguments)],
            env=os.environ | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=request.config.rootpath,
        )
        for rank in range(2)
    ]
    assert [rank.wait(120) for rank in ranks] == [0, 0]

    expected = torch_workload._eval_model_on_split(
        "validation", EXAMPLES, BATCH, model, None, None, str(data_dir)
    )
    batch = jax.tree.map(torch.tensor, merged_batch(molecules, 2))
    mode = spec.ForwardPassMode.TRAIN
    logits, _ = torch_workload.model_fn(model, batch, None, mode, None, False, dropout_rate=0.0)
    loss = torch_workload.loss_fn(batch["targets"], logits, batch["weights"])
    loss["summed"].backward()
    expected |= {name: loss[name].item() for name in ("summed", "n_valid_examples")}
    for rank in range(2):
        metrics, grads = torch.load(tmp_path / f"rank{rank}.pt")
        assert metrics == pytest.approx(expected, rel=1e-5)
        for name, p in model.named_parameters():
            assert torch.dist(grads[name], p.grad) < 1e-5 * p.grad.norm(), name
