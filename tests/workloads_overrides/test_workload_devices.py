"""Several devices compute what one does: 8 virtual JAX devices, 2 PyTorch processes.

Every workload: its metrics, a training step's loss, gradients and running statistics. Beside that,
those processes show that nothing of the other framework is imported.
"""

import pickle

import jax
import numpy as np
import pytest
import torch
import workload_cases as cases
import workload_models as models
from workload_cases import BATCH, DATA_RNG, EVALUATED, NAMES, SIZE
from workload_ogbg import merged_batch
from workload_processes import run_pytorch_ranks, run_with_jax_devices

# One run for all workloads, as importing JAX or PyTorch takes seconds.
JAX_CODE = """
import pickle, sys
from algoperf_api import jax_sharding_utils, spec
from workloads_overrides import import_workload
import jax
import numpy as np

name_list, data_dir, folder, *numbers = sys.argv[1:]
count, size, batch_size = map(int, numbers)
assert jax.device_count() == 8
rng = jax.random.PRNGKey(0)

def results(name):
    with open(f"{folder}/{name}.pkl", "rb") as file:
        params, state = jax_sharding_utils.replicate(pickle.load(file))
    w = import_workload(name, "jax")
    metrics = w._eval_model_on_split("validation", count, size, params, state, rng, data_dir)
    data_rng = np.array([3, 14], np.uint32)
    batch = next(w._build_input_queue(data_rng, "train", data_dir, batch_size))
    for leaf in jax.tree.leaves(batch):
        assert len(leaf.sharding.device_set) == 8
        assert leaf.addressable_shards[0].data.shape[0] * 8 == leaf.shape[0]

    @jax.jit
    def step(params, state, batch):
        def loss(params):
            mode = spec.ForwardPassMode.TRAIN
            logits, new = w.model_fn(params, batch, state, mode, rng, True, 0.0)
            loss = w.loss_fn(batch["targets"], logits, batch["weights"])
            return loss["summed"] / loss["n_valid_examples"], new
        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, state), grads = jax.device_get(step(params, state, batch))
    return metrics, float(loss), grads, state

everything = {name: results(name) for name in name_list.split(",")}
others = [m for m in sys.modules if m.startswith("workloads_overrides") and "pytorch" in m]
others += sorted({"torch", "rdkit"} & set(sys.modules))
with open(f"{folder}/result.pkl", "wb") as file:
    pickle.dump((everything, others), file)
"""

TORCH_CODE = """
import sys
import torch
import torch.distributed as dist
from algoperf_api import spec
from workloads_overrides import import_workload
import numpy as np

name_list, data_dir, folder, *numbers = sys.argv[1:]
count, size, batch_size = map(int, numbers)
torch.set_num_threads(1)
dist.init_process_group("gloo")
rng = np.array([1, 2])

def results(name):
    w = import_workload(name, "pytorch")
    model, _ = w.init_model_fn(rng)
    model.module.load_state_dict(torch.load(f"{folder}/{name}.pt"))
    metrics = w._eval_model_on_split("validation", count, size, model, None, rng, data_dir)
    data_rng = np.array([3, 14], np.uint32)
    batch = next(w._build_input_queue(data_rng, "train", data_dir, batch_size))
    assert len(batch["targets"]) in (batch_size // 2, batch_size // 2 + 1)  # a graph of padding
    logits, _ = w.model_fn(model, batch, None, spec.ForwardPassMode.TRAIN, None, True, 0.0)
    loss = w.loss_fn(batch["targets"], logits, batch["weights"])
    loss["summed"].backward()  # DDP averages over the ranks
    sums = torch.stack([loss["summed"].detach(), loss["n_valid_examples"].float()])
    dist.all_reduce(sums)
    grads = {n: (2 * p.grad / sums[1]).numpy() for n, p in model.module.named_parameters()}
    buffers = {n: b.numpy() for n, b in model.module.named_buffers() if ".running_" in n}
    return metrics, (sums[0] / sums[1]).item(), grads, buffers

everything = {name: results(name) for name in name_list.split(",")}
others = [m for m in sys.modules if m.startswith("workloads_overrides") and "jax" in m]
others += sorted({"jax", "flax", "rdkit"} & set(sys.modules))
torch.save((everything, others), f"{folder}/rank{dist.get_rank()}.pt")
dist.destroy_process_group()
"""


def one_device(name, framework, num_shards):
    """(metrics, loss, gradients, running statistics) of this process, from the same examples."""
    params, state = models.model(name, framework)
    metrics = cases.evaluate(name, framework, params, state, EVALUATED, SIZE)
    batch = cases.train_batches(name, framework)[0]
    if name == "ogbg_small":
        batch = merged_batch(cases.data_dir(name), DATA_RNG, BATCH, num_shards)
        batch = batch if framework == "jax" else jax.tree.map(torch.tensor, batch)
    loss, _, grads, state = cases.step(name, framework, params, state, batch)
    return metrics, loss, grads, cases.flat_state(name, params, state)


def arguments(folder):
    (data_dir,) = {cases.data_dir(name) for name in NAMES}
    return ",".join(NAMES), data_dir, folder, EVALUATED, SIZE, BATCH


def assert_same(several, one):
    metrics, loss, grads, statistics = several
    models.assert_same_metrics(metrics, one[0], rel=1e-5)
    assert loss == pytest.approx(one[1], rel=1e-6)
    cases.assert_gradients_close(grads, one[2], rel=1e-5)
    assert statistics.keys() == one[3].keys()
    for tensor, array in statistics.items():
        np.testing.assert_allclose(array, one[3][tensor], rtol=1e-5, atol=1e-6, err_msg=tensor)


def test_eight_jax_devices(tmp_path, subtests):
    for name in NAMES:
        (tmp_path / f"{name}.pkl").write_bytes(
            pickle.dumps(jax.device_get(models.model(name, "jax")))
        )
    run_with_jax_devices(JAX_CODE, *arguments(tmp_path))
    results, others = pickle.loads((tmp_path / "result.pkl").read_bytes())
    assert others == [], "a JAX run imports none of these"
    for name, (metrics, loss, grads, state) in results.items():
        with subtests.test(name), cases.quick_compilation():
            statistics = cases.flat_state(name, None, state)
            several = metrics, loss, cases.flat(name, grads), statistics
            assert_same(several, one_device(name, "jax", 8))


def test_two_pytorch_processes(tmp_path, subtests):
    for name in NAMES:
        torch.save(models.model(name, "pytorch")[0].state_dict(), tmp_path / f"{name}.pt")
    run_pytorch_ranks(TORCH_CODE, *arguments(tmp_path))
    # NumPy arrays are in the files.
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in range(2)]
    for results, others in ranks:
        assert others == [], "a PyTorch run imports none of these"
        assert list(results) == list(NAMES)
    for name in NAMES:
        with subtests.test(name):
            expected = one_device(name, "pytorch", 2)
            for results, _ in ranks:
                assert_same(results[name], expected)
