"""What a process with 8 virtual devices does in the tests of shared refreshes.

`main` takes every optimizer over float64 parameters, some over float32 ones at once: on one device
without a mesh and on 8, some with fewer parameters on 2. It writes what `run` returns, and notes
the sizes of the factorisations in the programs that it compiles.
"""

import json
import math
import pickle
import re
from typing import Any

import jax
import numpy as np
import optax
import optimizers
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import matprec.jax

# As matrices 9 are wide, 3 tall, one of these of four dimensions, and 2 square.
SHAPES = [(5, 3)] * 9 + [(4, 6), (1, 2, 2, 6), (4, 6)] + [(4, 4)] * 2 + [(7,), ()]
STEPS = 20
START = 6  # by then statistics have full rank: rounding chooses the vectors of a null space
# Compiling takes most of the time: not everything in every dtype and on both meshes.
NAMES = tuple(f"float64/{i}" for i in range(len(SHAPES))) + tuple(f"float32/{i}" for i in range(9))
FEW = NAMES[:9] + NAMES[12:14]


def names_for(optimizer: str, devices: int) -> tuple[str, ...]:
    """The parameters that an optimizer trains on so many devices."""
    if devices == 2:
        return FEW
    return NAMES if optimizer in optimizers.REPRESENTATIVES else NAMES[: len(SHAPES)]


def assert_close(several: Any, one: Any) -> None:
    """Relative to the largest entry of an array; of the state all counters and moments too."""
    pairs = zip(jax.tree.leaves(several), jax.tree.leaves(one), strict=True)
    for array, expected in pairs:
        assert array.dtype == expected.dtype
        tolerance = 1e-9 if expected.dtype == np.float64 else 1e-4
        error = np.max(np.abs(array - expected))
        assert error <= tolerance * np.max(np.abs(expected))


def tree(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, Any]:
    """Arrays by names such as float64/3, which has the dtype and the number of the shape."""
    whole = {name: np.asarray(rng.normal(size=SHAPES[int(name[8:])]), name[:7]) for name in NAMES}
    return {name: whole[name] for name in names}


def inputs(names: tuple[str, ...] = NAMES) -> tuple[Any, list[Any]]:
    """Parameters and gradients; one first refresh is late, one gradient is not finite."""
    rng = np.random.default_rng(5)
    params, grads = tree(rng, names), [tree(rng, names) for _ in range(STEPS)]
    for name in names:
        if name.endswith("/1"):
            grads[START - 1][name][:] = 0  # steps count from 1
        if name.endswith("/2"):
            grads[8][name][0, 0] = np.nan
    return params, grads


def run(
    optimizer: optax.GradientTransformation, mesh: Mesh | None, names: tuple[str, ...] = NAMES
) -> dict[str, Any]:
    """Trains, all arrays replicated over the mesh or on one device.

    Returns a dict of `params` and `state` after the last step, and of `sizes`, a set of
    (dtype, matrices, rows, columns) of LAPACK's calls in the compiled step.
    """
    where = jax.devices()[0] if mesh is None else NamedSharding(mesh, PartitionSpec())
    params, grads = inputs(names)

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    now, state = jax.device_put((params, jax.jit(optimizer.init)(params)), where)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(now, state, grads[0]).compile()
    for g in grads:
        now, state = compiled(now, state, jax.device_put(g, where))
    for array in jax.tree.leaves((now, state)):
        assert array.is_fully_replicated
        assert len(array.addressable_shards) == (1 if mesh is None else mesh.size)
        for shard in array.addressable_shards:
            np.testing.assert_array_equal(shard.data, array)
    found = jax.device_get((now, jax.tree.leaves(state)))
    return {"params": found[0], "state": found[1], "sizes": sizes(str(compiled.as_text()))}


def sizes(text: str) -> set[tuple[str, int, int, int]]:
    """(dtype, matrices, rows, columns) of the first result of every LAPACK call in a program."""
    calls = re.findall(r"= \(?([fs]\d+)\[([\d,]+)\].* custom-call\(.*\"lapack_", text)
    found = set()
    for dtype, dims in calls:
        *batch, rows, columns = map(int, dims.split(","))
        found.add((dtype, math.prod(batch), rows, columns))
    return found


def main(path: str, settings: str) -> None:
    """`settings`: a JSON object of keyword arguments for every name."""
    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    assert len(devices) == 8
    meshes = {1: None, 2: Mesh(devices[:2], ("batch",)), 8: Mesh(devices, ("batch",))}
    results = {}
    for name, values in json.loads(settings).items():
        alias = getattr(matprec.jax, name)
        for count in (1, 2, 8) if name in optimizers.REPRESENTATIVES else (1, 8):
            optimizer = alias(0.1, 0.1, mesh=meshes[count], **values)
            results[name, count] = run(optimizer, meshes[count], names_for(name, count))
    alias = matprec.jax.shampoo
    injected: Any = optax.inject_hyperparams(alias, static_args=alias.static_args)
    meshes = {"alone": None, "two axes": Mesh(np.reshape(devices[2:8], (2, 3)), ("a", "b"))}
    for key, mesh in meshes.items():
        results[key] = run(
            injected(0.1, 0.1, refresh_every=3, start_step=START, mesh=mesh), mesh, FEW
        )
    with open(path, "wb") as file:
        pickle.dump(results, file)
