"""What a process with 8 virtual devices does in the tests of `shard="all"`.

`main` takes every case's steps on one device without a mesh and on several with one, and writes
what `run` returns.
"""

import collections
import dataclasses
import json
import pickle
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import jax_shards
import jax_steps
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import matprec.jax
from matprec import layout
from matprec.algorithms import Shampoo

# Stacks of 9 and 2 matrices, two single ones, one of these in float32, and rows of elements: one
# cut along its length, two together by rows, one of a length that 8 does not divide.
SHAPES = [(5, 3)] * 9 + [(4, 4)] * 2 + [(3, 6), (4, 6), (16,), (7,), (7,), (3,)]
SINGLE = 12  # float32
EXPORTED = [0, 1, 2, 9, 10, 13, 14, 15]  # stacks of 3, 2 and 1 and both kinds of rows
STEPS = 9
START = 4  # by then statistics have full rank: rounding chooses the vectors of a null space
MESHES = {
    "8": lambda devices: Mesh(devices, ("batch",)),
    "2 x 3": lambda devices: Mesh(np.reshape(devices[2:8], (2, 3)), ("a", "b")),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Keyword arguments of `matprec.jax.<name>`; `injected`: rates and decays are traced."""

    name: str
    settings: dict[str, Any]
    mesh: str = "8"
    injected: bool = False

    def make(self, **settings: Any) -> Any:
        alias = getattr(matprec.jax, self.name)
        if self.injected:
            alias = optax.inject_hyperparams(alias, static_args=alias.static_args)
        return alias(0.1, 0.1, **self.settings, **settings)


def inputs() -> tuple[Any, list[Any]]:
    """Parameters and gradients; one first refresh is late, one gradient is not finite."""
    rng = np.random.default_rng(5)
    dtypes = [np.float32 if i == SINGLE else np.float64 for i in range(len(SHAPES))]

    def tree() -> Any:
        return [rng.normal(size=s).astype(d) for s, d in zip(SHAPES, dtypes, strict=True)]

    params, grads = tree(), [tree() for _ in range(STEPS)]
    grads[START - 1][1][:] = 0  # steps count from 1
    grads[5][2][0, 0] = np.nan
    return params, grads


def run(case: Case, mesh: Mesh | None) -> dict[str, Any]:
    """Trains, with the state as `init` has made it and all other arrays replicated.

    Returns a dict of `params` and of `state`, the stacks, after the last step; of `shards`, see
    `shards_of`; of `bytes` of the stacks on every device; of `sizes`, see `jax_shards.sizes`; and
    of `compilations`.
    """
    optimizer = case.make(mesh=mesh, shard="all")
    where = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    params, grads = jax.device_put(inputs(), where)

    def take_step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    step: Any = jax.jit(take_step, donate_argnums=(0, 1))
    state = jax.jit(optimizer.init)(params)
    shards = shards_of(state)
    for array in jax.tree.leaves(stacks_of(state)):
        assert mesh is None or array.sharding.device_set == set(mesh.devices.flat)
    text = str(step.lower(params, state, grads[0]).compile().as_text())
    for g in grads:
        before = jax.tree.leaves((params, state))
        params, state = step(params, state, g)
        assert all(array.is_deleted() for array in before)
        assert shards_of(state) == shards
    for array in jax.tree.leaves(params):
        assert array.is_fully_replicated
        for shard in array.addressable_shards:
            np.testing.assert_array_equal(shard.data, array)
    held = collections.Counter()
    for array in jax.tree.leaves(stacks_of(state)):
        for shard in array.addressable_shards:
            held[shard.device.id] += shard.data.nbytes
    return {
        "params": jax.device_get(params),
        "state": jax.device_get(stacks_of(state)),
        "shards": shards,
        "bytes": list(held.values()),
        "sizes": jax_shards.sizes(text),
        "compilations": step._cache_size(),
    }


def stacks_of(state: Any) -> Any:
    return jax_steps.state_of(state).stacks


def shards_of(state: Any) -> list[dict[str, set[tuple[int, ...]]]]:
    """The shapes of the shards of all arrays of all stacks."""
    return [
        {key: {shard.data.shape for shard in array.addressable_shards} for key, array in s.items()}
        for s in stacks_of(state)
    ]


def exported(mesh: Mesh) -> list[Any]:
    """A new state as it is, and as `layout` exports it, on one device and on several; without jit.

    Of some tensors, as each operation is compiled by itself.

    An optimizer's `init` is the adapter's, which knows the plan.
    """
    found = []
    for settings in ({}, {"mesh": mesh, "shard": "all"}):
        optimizer = matprec.jax.precondition(Shampoo(), **settings)
        params = [inputs()[0][i] for i in EXPORTED]
        state = optimizer.init(params)
        plan = optimizer.init.__self__.plan(params)  # type: ignore[attr-defined]
        stacks = layout.export_state(jnp, plan, state.stacks)
        found.append((shards_of(state), jax.device_get(stacks)))
    return found


def explicit(case: Case, devices: Any) -> Any:
    """Parameters after steps on a mesh whose axes are explicit."""
    names = ("batch",)
    mesh = jax.make_mesh((8,), names, axis_types=(AxisType.Explicit,), devices=devices)
    return run(case, mesh)["params"]


def main(path: str, settings: str) -> None:
    """`settings`: a JSON object of `Case`'s arguments for every key."""
    warnings.simplefilter("error")  # such as of donated arrays that could not be used
    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    assert len(devices) == 8
    results = {}
    cases = json.loads(settings)
    for key, values in cases.items():
        case = Case(**values)
        results[key] = run(case, None), run(case, MESHES[case.mesh](devices))
    results["exported"] = exported(MESHES["8"](devices))
    results["explicit"] = explicit(Case(**cases["staggered"]), devices)
    with open(path, "wb") as file:
        pickle.dump(results, file)
