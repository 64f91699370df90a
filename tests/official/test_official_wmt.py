"""Three steps of every submission on AlgoPerf's own WMT, on a batch like its reference test's.

That test itself evaluates too, with a beam search that takes a CPU many minutes.
"""

import gc
import importlib

import numpy as np
import pytest

from algoperf_api import HAS_ALGOPERF
from submissions.registry import OPTIMIZERS

pytestmark = [
    pytest.mark.official,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not HAS_ALGOPERF, reason="the official harness is not installed"),
]

LENGTH, WORDS, ROWS = 256, 32_000, 2


def fake_batch(seed):
    rng = np.random.default_rng(seed)
    words = {name: rng.integers(WORDS, size=(ROWS, LENGTH)) for name in ("inputs", "targets")}
    return words | {"weights": rng.integers(2, size=(ROWS, LENGTH))}


def setting(framework):
    """(workload, random state, batch) of AlgoPerf's."""
    batch = fake_batch(0)
    if framework == "jax":
        import jax
        from algoperf.workloads.wmt.wmt_jax.workload import WmtWorkload

        return WmtWorkload(), jax.random.PRNGKey(0), batch
    import torch
    from algoperf.workloads.wmt.wmt_pytorch.workload import WmtWorkload

    kinds = {"weights": torch.bool}
    tensors = {
        key: torch.as_tensor(array).to(kinds.get(key, torch.int64)) for key, array in batch.items()
    }
    return WmtWorkload(), np.array([0, 0]), tensors


def snapshot(framework, params):
    if framework == "jax":
        import jax

        return [np.array(leaf) for leaf in jax.tree.leaves(params)]
    return [parameter.detach().numpy().copy() for parameter in params.parameters()]


def same_dropout(framework):
    """Drops the same units in every step, as `rng` does in JAX: the learning rate is still warming
    up, and other masks change the loss of 512 words by more than a step of it."""
    if framework == "pytorch":
        import torch

        torch.manual_seed(0)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps(name, framework):
    module = importlib.import_module(f"submissions.{name}.{framework}.submission")
    workload, rng, batch = setting(framework)
    losses = []
    params, model_state = workload.init_model_fn(rng)
    state = module.init_optimizer_state(workload, params, model_state, None, rng)
    logger = type("Logger", (), {"append_scalar_metrics": lambda self, row, _: losses.append(row)})
    before = snapshot(framework, params)
    for step in (0, 100, 200):  # steps that are logged
        workload.metrics_logger = logger()
        same_dropout(framework)
        state, params, model_state = module.update_params(
            workload=workload,
            current_param_container=params,
            current_params_types=workload.model_params_types,
            model_state=model_state,
            hyperparameters=None,
            batch=batch,
            loss_type=workload.loss_type,
            optimizer_state=state,
            train_state={},
            eval_results=[],
            global_step=step,
            rng=rng,
        )
    after = snapshot(framework, params)
    assert len(losses) == 3
    assert all(np.isfinite(row["loss"]) for row in losses)
    assert losses[2]["loss"] < losses[0]["loss"]
    for counter in ("skipped_updates", "failed_roots"):
        assert losses[-1].get(counter, 0) == 0
    for old, new in zip(before, after, strict=True):
        assert np.all(np.isfinite(new))
        assert not np.array_equal(old, new) or old.ndim == 1  # vectors may get no gradient
    del state, params, before, after
    gc.collect()
