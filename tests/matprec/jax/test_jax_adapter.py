"""What the JAX adapter does whatever the optimizer: roles, fallback, donation, what it refuses.

The contract that every optimizer of the registry keeps is in `tests/contract`; here one or two
optimizers stand for all.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimizers
import pytest
from jax_steps import (
    Trainer,
    assert_changed,
    assert_close,
    assert_equal,
    dtypes,
    make,
    normal,
    state_of,
)

import matprec.jax

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = {"w": (3, 4), "b": (4,)}

names = pytest.mark.parametrize("name", optimizers.REPRESENTATIVES)


# ---------------------------------------- jit, chain, masked, donation


def test_eager_and_jitted_calls_agree():
    params, grads = normal(0, SMALL), normal(1, SMALL)
    optimizer = make("asgo")
    state = optimizer.init(params)
    assert_equal(jax.jit(optimizer.init)(params), state)
    jitted = jax.jit(optimizer.update)(grads, state, params)
    assert_close(optimizer.update(grads, state, params), jitted)


def test_chain():
    params, grads = normal(0, SMALL), [normal(i, SMALL) for i in (1, 2)]
    clip = optax.clip_by_global_norm(0.5)
    chained, state = Trainer(optax.chain(clip, make("asgo"))).run(params, grads)
    clipped = [clip.update(g, clip.init(params))[0] for g in grads]
    expected, _ = Trainer(make("asgo")).run(params, clipped)
    assert_close(chained, expected)
    assert set(matprec.jax.counters(state)) == {"failed_roots", "skipped_updates"}


def test_masked():
    """Roles still cover what is masked out."""
    params, grads = normal(0, SMALL), normal(1, SMALL)
    roles = {"roles": {"w": "matrix", "b": "vector"}}
    masked = optax.masked(make("asgo", **roles), {"w": True, "b": False})
    updates, state = jax.jit(masked.update)(grads, masked.init(params), params)
    alone = make("asgo")
    only = {"w": params["w"]}
    expected, _ = jax.jit(alone.update)({"w": grads["w"]}, alone.init(only), only)
    np.testing.assert_array_equal(updates["b"], grads["b"])
    assert_close(updates["w"], expected["w"])
    assert matprec.jax.counters(state)["skipped_updates"] == 0


@names
def test_donated_state(name):
    params, grads = normal(0, SMALL), [normal(1, SMALL), normal(2, SMALL)]
    optimizer = make(name)
    state = optimizer.init(params)
    donating = Trainer(optimizer, donate_argnums=(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # JAX warns of donations that it could not use
        new, state_after = donating.step(jax.tree.map(jnp.copy, params), state, grads[0])
        assert all(x.is_deleted() for x in jax.tree.leaves(state))
        new, _ = donating.step(new, state_after, grads[1])
    expected, _ = Trainer(optimizer).run(params, grads)
    assert_close(new, expected)


# ---------------------------------------- injected hyperparameters


def test_injected_hyperparameters():
    alias = matprec.jax.asgo
    assert "static_args=asgo.static_args" in (alias.__doc__ or "")
    schedule = optax.linear_schedule(0.2, 0.0, 5)
    common = {"weight_decay": 0.1, "beta1": 0.8, "eps": 1e-2, "state_dtype": jnp.float32}
    params, grads = normal(0, SMALL), [normal(i, SMALL) for i in (1, 2, 3)]
    injected = optax.inject_hyperparams(alias, static_args=alias.static_args)(schedule, **common)
    trainer = Trainer(injected)
    new, state = trainer.run(params, grads)
    expected, _ = Trainer(alias(schedule, **common)).run(params, grads)
    assert_close(new, expected, 1e-4)

    state.hyperparams["weight_decay"] = jnp.float32(7.0)
    heavier, _ = trainer.step(new, state, grads[0])
    state.hyperparams["weight_decay"] = jnp.float32(0.1)
    lighter, _ = trainer.step(new, state, grads[0])
    assert_changed(heavier["w"], lighter["w"])
    assert (trainer.traces, trainer.compilations) == (1, 1)


def test_injected_hyperparameters_of_half_precision_parameters():
    params = normal(0, {"w": (3, 4)}, "bfloat16")
    injected = optax.inject_hyperparams(
        matprec.jax.asgo, static_args=matprec.jax.asgo.static_args, hyperparam_dtype=jnp.float32
    )(0.1)
    state: Any = injected.init(params)
    assert state.hyperparams["fallback_beta2"] == np.float32(0.999)
    after = jax.eval_shape(injected.update, params, state, params)[1]
    assert dtypes(after) == dtypes(state)
    assert set(jax.tree.leaves(dtypes(state_of(after).stacks))) == {"float32"}


def test_learning_rate_schedules():
    params, grads = normal(0, {"b": (4,)}), normal(1, {"b": (4,)})
    schedule = optax.piecewise_constant_schedule(1.0, {1: 0.5, 2: 0.0})
    optimizer = make("asgo", schedule, weight_decay=0.0, fallback_beta1=0.0, fallback_beta2=0.0)
    state, sizes = optimizer.init(params), []
    for _ in range(3):
        updates, state = optimizer.update(grads, state)
        sizes.append(np.abs(updates["b"]))
    np.testing.assert_allclose(sizes, np.outer([1, 0.5, 0], np.ones(4)), rtol=1e-6)


# ---------------------------------------- roles and fallback


def kinds(optimizer, params):
    """Shape of the first moment of every stack, and whether it is the fallback's."""
    first_moments = ("mean", "filtered", "momentum")
    return [
        (next(stack[key].shape for key in first_moments if key in stack), "mean" in stack)
        for stack in state_of(optimizer.init(params)).stacks
    ]


@pytest.mark.parametrize("name", ["asgo", "shampoo"])
def test_roles(name):
    params = normal(0)
    seen = []

    def role(path, leaf):
        seen.append((path, leaf.shape))
        return "embedding" if path == "dense/kernel" else None

    both = [((1, 1, 4), True), ((2, 4, 3), False)]
    apart = [((1, 1, 4), True), ((1, 1, 12), True), ((1, 4, 3), False)]
    rest = [((1, 1, 1), True), ((1, 1, 5), True), ((1, 1, 1), True)]
    assert sorted(kinds(make(name), params)) == sorted(both + rest)
    assert sorted(kinds(make(name, roles=role), params)) == sorted(apart + rest)
    assert ("dense/kernel", (3, 4)) in seen
    assert ("twin", (3, 4)) in seen
    tree = jax.tree.map(lambda _: None, params) | {"dense": {"kernel": "embedding", "bias": None}}
    assert sorted(kinds(make(name, roles=tree), params)) == sorted(apart + rest)
    with pytest.raises(ValueError, match="'kernel' is not one of matrix, "):
        make(name, roles=lambda path, leaf: "kernel").init(params)
    for changes, matrix in (({}, name == "shampoo"), ({"precondition_head": True}, True)):
        head = make(name, roles=lambda path, leaf: "head", **changes)
        assert kinds(head, normal(0, {"w": (3, 4)}))[0][1] != matrix


def test_the_fallback_is_nadamw_or_adamw():
    params, grads = normal(0, SMALL), [normal(i, SMALL) for i in (1, 2)]
    roles = {"w": "embedding", "b": None}
    betas = {"beta1": 0.7, "beta2": 0.8, "eps": 1e-3}
    fallback = {f"fallback_{key}": value for key, value in betas.items()}
    for kind in ("nadamw", "adamw"):
        optimizer = make("asgo", roles=roles, fallback=kind, **fallback, fallback_lr_scale=0.5)
        new, _ = Trainer(optimizer).run(params, grads)
        nadamw = make("nadamw", 0.05, nesterov=kind == "nadamw", **betas)
        expected, _ = Trainer(nadamw).run(params, grads)
        assert_close(new["w"], expected["w"])
    # Vectors do not decay beside matrices; as the whole optimizer NAdamW decays everything.
    still = normal(0, SMALL) | {"b": jnp.zeros(4)}
    frozen = jax.tree.map(jnp.zeros_like, params)
    for name, moves in (("asgo", False), ("nadamw", True)):
        optimizer = make(name)
        updates, _ = optimizer.update(frozen, optimizer.init(params), params)
        assert_close(updates["w"], -0.01 * still["w"])
        assert_close(updates["b"], -0.01 * params["b"] * moves)


# ---------------------------------------- half precision, bad entries


MIXED = {"w": "bfloat16", "v": "float32", "b": "float16"}


def test_half_precision_trains_like_float32():
    shapes = {"w": (3, 4), "v": (3, 4), "b": (4,)}
    params = {key: normal(0, shape, MIXED[key]) for key, shape in shapes.items()}
    grads = [jax.tree.map(lambda p, k=k: jnp.sin(9 * p + k), params) for k in range(3)]
    trainer = Trainer(make("asgo", eps=1e-2))
    new, _ = trainer.run(params, grads)
    assert trainer.traces == 1
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), (params, grads))
    expected, _ = trainer.run(*wide)
    for key, precision in (("w", 2**-7), ("v", 1e-5), ("b", 2**-9)):
        difference = np.abs(new[key].astype(jnp.float32) - expected[key])
        assert np.max(difference) < 3 * precision * np.max(np.abs(expected[key]))


@pytest.mark.parametrize("name", ["shampoo", "caspr"])
def test_a_bad_entry_freezes_all_blocks_and_leaves_no_trace(name):
    shapes = {"a": (4, 4), "b": (4, 4)}
    trainer = Trainer(make(name, block_size=2, refresh_every=1))
    params, grads = normal(0, shapes), [normal(i, shapes) for i in (1, 2, 3)]
    before, state = trainer.run(params, grads[:1])
    spoilt = grads[1] | {"a": grads[1]["a"].at[0, 0].set(jnp.nan)}
    frozen, state = trainer.step(before, state, spoilt)
    np.testing.assert_array_equal(frozen["a"], before["a"])
    assert matprec.jax.counters(state)["skipped_updates"] == 4  # of four blocks
    last, _ = trainer.step(frozen, state, grads[2])
    without, _ = trainer.run(params, [grads[0], grads[2]])
    full, _ = trainer.run(params, grads)
    np.testing.assert_array_equal(last["a"], without["a"])
    np.testing.assert_array_equal(last["b"], full["b"])


# ---------------------------------------- what is refused


@names
@pytest.mark.parametrize("dtype", ["complex64", "int32", "bool"])
def test_only_real_floating_point_gradients(name, dtype):
    optimizer = make(name)
    params = {"block": [{"kernel": jnp.ones((3, 4))}]}
    grads = {"block": [{"kernel": jnp.ones((3, 4), dtype)}]}
    with pytest.raises(TypeError, match=f"block/0/kernel has dtype {dtype}: only real, dense"):
        optimizer.update(grads, optimizer.init(params), params)
    with pytest.raises(TypeError, match="block/0/kernel"):
        optimizer.init(grads)


def test_weight_decay_needs_params():
    params = normal(0, {"b": (4,)})
    with pytest.raises(ValueError, match=r"call update\(grads, state, params\)"):
        make("asgo").update(params, make("asgo").init(params))
