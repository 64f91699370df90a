"""Every small workload in both frameworks, with one way to use either.

Parameters and gradients are flat here: {PyTorch's name: array in PyTorch's layout}, in NumPy.
Whatever takes long is made once per process.
"""

import contextlib
import functools
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

from algoperf_api import spec
from workloads_overrides import (
    FRAMEWORKS,
    SMALL_WORKLOADS,
    DataError,
    import_workload,
    prepare_data,
)
from workloads_overrides.base import param_map

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = SMALL_WORKLOADS
TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
DATA_RNG = np.array([3, 14], np.uint32)  # random state that both frameworks take
BATCH = 16  # examples of a training batch
EVALUATED = 150  # rows of the validation split
SIZE = 40  # rows of an evaluation batch: 8 devices divide it, it does not divide the rows

# In the session's scope pytest runs all tests of one workload after each other, across files: with
# several workers most of what is cached here is then made in one of them only.
each_workload = pytest.mark.parametrize("name", NAMES, scope="session")
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def each_case(test: Any) -> Any:
    """Runs a test for every workload in every framework."""
    return each_workload(each_framework(test))


Flat = dict[str, np.ndarray]


@functools.cache
def data_dir(name: str) -> str:
    """The data of a workload, prepared once into <repository>/data."""
    folder = REPOSITORY / "data"
    try:
        prepare_data(name, folder)
    except DataError as error:
        pytest.fail(f"the data of {name} cannot be prepared: {error}", pytrace=False)
    return str(folder)


@functools.cache
def workload(name: str, framework: str) -> Any:
    return import_workload(name, framework)


def key(framework: str, seed: int) -> Any:
    """Random state as AlgoPerf's harness gives it."""
    return jax.random.PRNGKey(seed) if framework == "jax" else np.array([seed, 7], np.int32)


def queue(name: str, framework: str, split: str = "train", size: int = BATCH, rng=DATA_RNG) -> Any:
    return workload(name, framework)._build_input_queue(rng, split, data_dir(name), size)


@functools.cache
def train_batches(name: str, framework: str, count: int = 10) -> list[dict[str, Any]]:
    return list(islice(queue(name, framework), count))


def to_numpy(tree: Any) -> Any:
    """JAX arrays and PyTorch tensors of a tree as NumPy arrays."""
    return jax.tree.map(
        lambda x: x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x), tree
    )


@functools.cache
def _jax_initial(name: str, seed: int) -> tuple[Any, Any]:
    return workload(name, "jax").init_model_fn(jax.random.PRNGKey(seed))


def initial(name: str, framework: str, seed: int = 0) -> tuple[Any, Any]:
    """(parameters, model state); a new module in PyTorch."""
    if framework == "jax":
        return _jax_initial(name, seed)
    return workload(name, framework).init_model_fn(key(framework, seed))


def flat(name: str, params: Any) -> Flat:
    """From either framework's parameters; from JAX's gradients and running statistics too."""
    if isinstance(params, torch.nn.Module):
        return {n: p.detach().cpu().numpy().copy() for n, p in params.named_parameters()}
    return param_map.to_pytorch(params, workload(name, "jax").pytorch_name)


def flat_state(name: str, params: Any, state: Any) -> Flat:
    """Running statistics by PyTorch's name: JAX's model state, or buffers of the module."""
    if isinstance(params, torch.nn.Module):
        buffers = {n: b.numpy().copy() for n, b in params.named_buffers()}
        return {n: b for n, b in buffers.items() if ".running_" in n}
    return flat(name, (state or {}).get("batch_stats", {}))


@functools.cache
def perturbed(name: str) -> Flat:
    """Initial parameters with noise: after it no head is zero, no scale one, no bias zero."""
    rng = np.random.default_rng(0)
    return {
        tensor: p + ((0.1 * p.std() + 0.02) * rng.normal(size=p.shape)).astype(p.dtype)
        for tensor, p in flat(name, initial(name, "jax")[0]).items()
    }


def container(name: str, framework: str, values: Flat, dtype: Any = np.float32) -> Any:
    """The framework's parameters with these values."""
    values = {tensor: array.astype(dtype) for tensor, array in values.items()}
    params, _ = initial(name, framework)
    if framework == "jax":
        return param_map.to_flax(values, params, workload(name, "jax").pytorch_name)
    params = params.double() if dtype == np.float64 else params
    load(params, values)
    return params


def load(module: torch.nn.Module, values: Flat) -> None:
    """Sets all parameters of a PyTorch module and no buffer."""
    params = dict(module.named_parameters())
    assert params.keys() == values.keys()
    with torch.no_grad():
        for tensor, array in values.items():
            params[tensor].copy_(torch.tensor(array))


def widened(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with its floats in double precision (JAX: with x64 only)."""

    def widen(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.double() if x.is_floating_point() else x
        return x.astype(np.float64) if x.dtype.kind == "f" else x

    return jax.tree.map(widen, batch)


@functools.cache
def jax_step(name: str) -> Any:
    """A jitted training step, see `step`; the dropout's rate is traced."""

    def mean_loss(params: Any, state: Any, batch: Any, rng: Any, rate: Any) -> tuple[Any, Any]:
        return _mean_loss(name, "jax", params, state, batch, rng, rate)

    # Without optimisation it is compiled in half the time.
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(jax.value_and_grad(mean_loss, has_aux=True), compiler_options=options)


def _mean_loss(name: str, framework: str, params, state, batch, rng, rate) -> tuple[Any, Any]:
    w = workload(name, framework)
    logits, state = w.model_fn(params, batch, state, TRAIN, rng, True, rate)
    loss = w.loss_fn(batch["targets"], logits, batch["weights"])
    return loss["summed"] / loss["n_valid_examples"], (logits, state)


def step(
    name: str,
    framework: str,
    params: Any,
    state: Any,
    batch: Any,
    rate: float = 0.0,
    seed: int = 0,
) -> tuple[float, np.ndarray, Flat, Any]:
    """(mean loss, logits, its gradients, model state) of a training step with that dropout."""
    if framework == "jax":
        (loss, (logits, state)), grads = jax_step(name)(
            params, state, batch, jax.random.PRNGKey(seed), rate
        )
        return float(loss), np.asarray(logits), flat(name, grads), state
    torch.manual_seed(seed)
    params.zero_grad()
    loss, (logits, state) = _mean_loss(name, framework, params, state, batch, None, rate)
    loss.backward()
    grads = {tensor: p.grad.numpy().copy() for tensor, p in params.named_parameters()}
    return loss.item(), logits.detach().numpy(), grads, state


def evaluate(
    name: str, framework: str, params: Any, state: Any, count: int, size: int
) -> dict[str, float]:
    """Metrics of the first `count` rows of the validation split."""
    return workload(name, framework)._eval_model_on_split(
        "validation", count, size, params, state, key(framework, 0), data_dir(name)
    )


@contextlib.contextmanager
def precision(dtype: Any) -> Iterator[None]:
    """JAX with 64-bit types, or without; see also the fixture `x64`."""
    jax.config.update("jax_enable_x64", dtype == np.float64)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Compiles JAX functions without optimisation, in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


# A bias of all keys adds the same to all scores of a query, and softmax takes that out again.
ZERO_GRADIENT = re.compile(r"attention[^.]*\.key\.bias$")


def assert_gradients_close(ours: Flat, theirs: Flat, rel: float) -> None:
    """Every tensor's difference, in norm, against its own norm.

    Where the gradient is zero but for rounding, a thousandth of the whole gradient's norm is added
    to that.
    """
    assert ours.keys() == theirs.keys()
    whole = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in theirs.values()))
    assert np.isfinite(whole)
    assert whole > 0
    for tensor, gradient in theirs.items():
        difference = np.linalg.norm((ours[tensor] - gradient).astype(np.float64))
        size = np.linalg.norm(gradient.astype(np.float64))
        if ZERO_GRADIENT.search(tensor):
            assert size < 1e-6 * whole, tensor
            size += 1e-3 * whole
        assert difference <= rel * size, tensor
