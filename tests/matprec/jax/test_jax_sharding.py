"""Devices that share refreshes do what one does; one process of 8 serves all tests here.

What it does stands in tests/support/jax_shards.py.
"""

import json
import pickle

import jax
import jax.numpy as jnp
import jax_shards as shards
import numpy as np
import optimizers
import pytest
from jax.sharding import Mesh
from jax_shards import assert_close
from workload_processes import run_with_jax_devices

names = pytest.mark.parametrize("name", optimizers.NAMES)


def on_meshes(names):
    """Every optimizer on 8 devices, some on 2."""
    few = [name for name in names if name in optimizers.REPRESENTATIVES]
    pairs = [*((name, 8) for name in names), *((name, 2) for name in few)]
    return pytest.mark.parametrize(("name", "devices"), pairs)


CODE = """
import sys
sys.path[:0] = ["tests", "tests/support"]
import jax_shards
jax_shards.main(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "results.pkl"
    settings = {name: optimizers.quick(name, 3) for name in optimizers.NAMES}
    for name in optimizers.REFRESHING_NAMES:
        settings[name]["start_step"] = shards.START
    run_with_jax_devices(CODE, path, json.dumps(settings))
    return pickle.loads(path.read_bytes())


@on_meshes(optimizers.NAMES)
def test_several_devices_do_what_one_does(name, devices, results):
    several, one = results[name, devices]["params"], results[name, 1]["params"]
    assert_close(several, {key: one[key] for key in several})
    assert several.keys() == {*shards.names_for(name, devices)}
    assert all(np.any(several[key] != x) for key, x in shards.inputs()[0].items() if key in several)
    if devices == 8:
        assert_close(results[name, 8]["state"], results[name, 1]["state"])


@on_meshes(optimizers.REFRESHING_NAMES)
def test_each_device_refreshes_its_share(name, devices, results):
    """ceil(B / devices) matrices of a stack of B, in the program that a device runs."""
    one, several = results[name, 1]["sizes"], results[name, devices]["sizes"]
    assert {matrices for _, matrices, *_ in one} == {9, 3, 2}
    both = name in optimizers.REPRESENTATIVES
    assert {dtype for dtype, *_ in one} == ({"f32", "f64"} if both else {"f64"})
    if devices == 2:
        one = {call for call in one if call[0] == "f64" and call[1] in (9, 2)}
    assert several == {
        (dtype, -(-matrices // devices), rows, columns) for dtype, matrices, rows, columns in one
    }


def test_injected_hyperparameters_on_a_mesh_of_two_axes(results):
    alone, shared = results["alone"], results["two axes"]
    assert_close(shared["params"], alone["params"])
    assert_close(shared["state"], alone["state"])
    assert {matrices for _, matrices, *_ in alone["sizes"]} == {9, 2}
    assert {matrices for _, matrices, *_ in shared["sizes"]} == {2, 1}


@pytest.mark.parametrize("name", optimizers.REPRESENTATIVES)
def test_a_mesh_of_one_device_changes_nothing(name):
    params = {"wide": jnp.ones((3, 5)), "twin": jnp.ones((3, 5)), "tall": jnp.ones((6, 4))}

    def program(**settings):
        optimizer = optimizers.alias(name)(0.1, 0.1, **settings)
        state = jax.eval_shape(optimizer.init, params)
        return jax.jit(optimizer.update).lower(params, state, params).as_text()

    assert program(mesh=Mesh(jax.devices()[:1], ("batch",))) == program()


@names
def test_the_option_is_static(name):
    assert "mesh" in optimizers.alias(name).static_args
