"""A batch in parts gives the step of the whole batch."""

import collections
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from tiny_workloads import TinyJax, TinyTorch, batches

from submissions.common.data import cut, part_of

pytestmark = pytest.mark.usefixtures("quick_compilation")
FRAMEWORKS = {"jax": TinyJax, "pytorch": TinyTorch}


def masked(dtype):
    """Batches of which parts have different numbers of valid examples."""
    rng = np.random.default_rng(7)
    for batch in batches(seed=2, dtype=dtype):
        weights = (rng.uniform(size=16) < 0.6).astype(dtype)
        weights[:3] = 1
        arrays = batch | {"weights": weights}
        yield {key: jnp.asarray(array) for key, array in arrays.items()}


def train(name, framework, parts, steps=6, dtype=np.float64):
    module = importlib.import_module(f"submissions.{name}.{framework}.submission")
    workload = FRAMEWORKS[framework](dtype)
    params = workload.init_model_fn()
    given = {
        "learning_rate": 0.05,
        "grad_clip": 0.3,
        "label_smoothing": 0.1,
        "gradient_accumulation_steps": parts,
    }
    rng = jax.random.PRNGKey(0) if framework == "jax" else [0, 0]
    state = module.init_optimizer_state(workload, params, None, given, rng)
    for step, batch in zip(range(steps), masked(dtype), strict=False):
        if framework == "pytorch":
            batch = {key: torch.tensor(np.asarray(array)) for key, array in batch.items()}
        state, params, _ = module.update_params(
            workload, params, None, None, given, batch, None, state, [], step, rng
        )
    return workload.flat(params), workload.metrics_logger.rows[0][1]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", ["adamw", "asgo"])
@pytest.mark.parametrize("parts", [2, 4, 16])
def test_parts_give_the_step_of_the_whole(x64, name, framework, parts):
    whole, logged = train(name, framework, 1)
    found, logged_in_parts = train(name, framework, parts)
    for key, value in whole.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-10, atol=1e-12, err_msg=key)
    for key in ("loss", "grad_norm"):
        assert logged_in_parts[key] == pytest.approx(logged[key], rel=1e-12)
    start, _ = train(name, framework, parts, steps=1)
    assert not np.allclose(start["hidden.weight"], whole["hidden.weight"], rtol=1e-3)


Graphs = collections.namedtuple("Graphs", ["nodes", "edges", "globals"])


@pytest.mark.parametrize("array", [np.array, jnp.array, torch.tensor])
def test_cut_takes_every_other_row_and_keeps_the_structure(array):
    batch = {
        "inputs": (array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]), array(range(6))),
        "targets": [array([5, 4, 3, 2, 1, 0])],
        "weights": None,
    }
    parts = cut(batch, 3)
    second = part_of(parts, 1)
    assert second["weights"] is None
    np.testing.assert_array_equal(second["inputs"][0], [[2, 3], [8, 9]])
    np.testing.assert_array_equal(second["inputs"][1], [1, 4])
    np.testing.assert_array_equal(second["targets"][0], [4, 1])
    graphs = Graphs(array([1, 2]), array([3, 4]), None)
    assert isinstance(cut(graphs, 2), Graphs)


@pytest.mark.parametrize(
    ("batch", "number", "devices", "message"),
    [
        ({"x": np.zeros(6), "y": np.zeros(4)}, 2, 1, "length 4, 6 on 1 device"),
        ({"x": np.zeros(6)}, 4, 1, "length 6 on 1 device.*a multiple of 4"),
        ({"x": np.zeros(6)}, 3, 4, "length 6 on 4 device.*a multiple of 12"),
        ({"x": np.zeros(6), "y": np.zeros(())}, 2, 1, "length 0, 6"),
        (Graphs(np.zeros(6), np.zeros(4), None), 2, 1, "length 4, 6"),
    ],
)
def test_a_batch_that_cannot_be_cut_is_refused_in_one_line(batch, number, devices, message):
    with pytest.raises(ValueError, match=message) as error:
        cut(batch, number, devices)
    assert f"gradient_accumulation_steps={number}" in str(error.value)
    assert "\n" not in str(error.value)
