"""`shard="all"`: every device of a mesh keeps the state of its rows and steps them.

Several devices do what one does; one process of 8 serves all tests here. What it does stands in
tests/support/jax_owners.py.
"""

import json
import pickle

import jax
import jax.numpy as jnp
import jax_owners as owners
import numpy as np
import optimizers
import pytest
from jax.sharding import Mesh
from jax_shards import assert_close
from workload_processes import run_with_jax_devices

import matprec.jax
from matprec.jax.conditional import make_slots

CODE = """
import sys
sys.path[:0] = ["tests", "tests/support"]
import jax_owners
jax_owners.main(*sys.argv[1:])
"""


def settings_of(name, **more):
    quick = optimizers.quick(name, 3)
    late = {"start_step": owners.START} if name in optimizers.REFRESHING_NAMES else {}
    return {"name": name, "settings": quick | late | more}


# Compiling takes long, and what is shared does not depend on the mathematics.
CASES = {name: settings_of(name) for name in optimizers.REPRESENTATIVES} | {
    "staggered": settings_of("soap", stagger=True),
    "staggered roots": settings_of("shampoo", stagger=True),
    "blocks": settings_of("shampoo", block_size=2),
    "injected": settings_of("asgo") | {"mesh": "2 x 3", "injected": True},
}
DEVICES = {case: 6 if CASES[case].get("mesh") else 8 for case in CASES}
cases = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "results.pkl"
    run_with_jax_devices(CODE, path, json.dumps(CASES))
    return pickle.loads(path.read_bytes())


@cases
def test_several_devices_do_what_one_does(case, results):
    one, several = results[case]
    assert_close(several["params"], one["params"])
    params, _ = owners.inputs()
    assert all(np.any(x != y) for x, y in zip(several["params"], params, strict=True))
    for stack, expected in zip(several["state"], one["state"], strict=True):
        assert_close({key: stack[key][: len(x)] for key, x in expected.items()}, expected)


def expected_shard(array, devices, elementwise):
    """Of an array (B, ...) that one device has."""
    rows, *rest = array.shape
    if elementwise:
        return (rows, *rest[:-1], *(size // devices for size in rest[-1:]))
    return (1 if rows == 1 else -(-rows // devices), *rest)


@cases
def test_every_device_keeps_its_share_of_the_state_and_no_more(case, results):
    one, several = results[case]
    total = 0
    for stack, expected in zip(several["shards"], one["state"], strict=True):
        # Rows of elements whose number can be divided; every other method has matrices here.
        lengths = {x.shape[2] for x in expected.values() if x.ndim == 3 and x.shape[1] == 1}
        is_row = all(x.ndim == 1 or x.shape[1] == 1 for x in expected.values())
        elementwise = is_row and all(n % DEVICES[case] == 0 for n in lengths)
        for key, array in expected.items():
            shape = expected_shard(array, DEVICES[case], elementwise)
            assert stack[key] == {shape}
            total += int(np.prod(shape)) * array.itemsize
    assert several["bytes"] == [total] * DEVICES[case]
    (alone,) = one["bytes"]
    assert total < 0.6 * alone


@cases
def test_padding_stays_as_it_was(case, results):
    one, several = results[case]
    padded = 0
    for stack, expected in zip(several["state"], one["state"], strict=True):
        for key in ("t", "last_refresh", "failed_roots", "skipped_updates"):
            padding = stack[key][len(expected[key]) :]
            assert not padding.any()
            padded += len(padding)
    assert padded > 0


@pytest.mark.parametrize(
    "case", [name for name in optimizers.REPRESENTATIVES if name in optimizers.REFRESHING_NAMES]
)
def test_each_device_refreshes_its_own(case, results):
    """ceil(B / devices) matrices of a stack of B, in the program that a device runs."""
    one, several = results[case]
    assert {matrices for _, matrices, *_ in one["sizes"]} >= {9, 2}
    assert several["sizes"] == {
        (dtype, -(-matrices // 8), rows, columns) for dtype, matrices, rows, columns in one["sizes"]
    }


@cases
def test_one_program_serves_all_steps(case, results):
    assert [found["compilations"] for found in results[case]] == [1, 1]


def test_exported_state_has_no_padding(results):
    (whole, one), (cut, several) = results["exported"]
    assert whole != cut
    jax.tree.map(np.testing.assert_array_equal, several, one)
    assert len(one) == len(owners.EXPORTED)


def test_explicit_axes(results):
    one, _ = results["staggered"]
    assert_close(results["explicit"], one["params"])


@pytest.mark.parametrize("name", optimizers.REPRESENTATIVES)
def test_a_mesh_of_one_device_changes_nothing(name):
    params = {"wide": jnp.ones((3, 5)), "twin": jnp.ones((3, 5)), "tall": jnp.ones((6, 4))}

    def program(**settings):
        optimizer = optimizers.alias(name)(0.1, 0.1, **settings)
        state = jax.eval_shape(optimizer.init, params)
        return jax.jit(optimizer.update).lower(params, state, params).as_text()

    assert program(mesh=Mesh(jax.devices()[:1], ("batch",)), shard="all") == program()


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_only_known_ways_of_sharding(name):
    with pytest.raises(ValueError, match="shard='rows' is not one of refresh, all"):
        optimizers.alias(name)(0.1, shard="rows")
    assert "shard" in optimizers.alias(name).static_args
    assert callable(matprec.jax.precondition)


def test_slots_of_rows_that_are_cut():
    """Rows 0 to 2 and 3 to 4, with one of padding; two of the first are due in phase 1."""
    slots = make_slots([1, 0, 1, 2, 0], 3, devices=2)
    np.testing.assert_array_equal(slots.phases, [[1, 0, 1], [2, 0, -1]])
    first, second = slots.rows.tolist()
    assert first == [[1, 0], [0, 2], [0, 1]]
    assert [rows[0] for rows in (second[0], second[2])] == [1, 0]
    assert slots.rows.shape == (2, 3, 2)
    assert all(len(set(rows)) == 2 for hand in slots.rows.tolist() for rows in hand)


def test_slots_of_rows_that_are_not_cut():
    slots = make_slots([0, 1, 0], 2)
    assert slots.rows.tolist() == [[[0, 2], [1, 0]]]
    mine = slots.of(jnp.asarray(5))  # of whatever device
    np.testing.assert_array_equal(mine.phases, [0, 1, 0])
    np.testing.assert_array_equal(mine.rows, slots.rows[0])
