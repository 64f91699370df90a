"""The contract of an optax transformation, for every optimizer of `matprec.jax`."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import matprec.jax

NAMES = ["asgo", "shampoo", "nadamw"]
MATRIX_NAMES = ["asgo", "shampoo"]
SHAPES = {
    "dense": {"kernel": (3, 4), "bias": (4,)},
    "twin": (3, 4),
    "one": (1, 1),
    "row": (1, 5),
    "empty": (0, 3),
    "scalar": (),
}


def normal(seed, shapes=SHAPES, dtype="float32"):
    """A pytree of random arrays."""
    rng = np.random.default_rng(seed)

    def make(shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    return jax.tree.map(make, shapes, is_leaf=lambda node: isinstance(node, tuple))


def make(name, learning_rate: Any = 0.1, **settings: Any):
    defaults = {"weight_decay": 0.1} | ({} if name == "nadamw" else {"refresh_every": 2})
    return getattr(matprec.jax, name)(learning_rate, **defaults | settings)


class Trainer:
    """A jitted training step that counts how often it is traced."""

    def __init__(self, optimizer, name="", **jit_options):
        self.optimizer, self.name, self.traces = optimizer, name, 0
        self.step = jax.jit(self._step, **jit_options)

    def _step(self, params, state, grads):
        self.traces += 1
        updates, state = self.optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def run(self, params, grads, state=None):
        state = self.optimizer.init(params) if state is None else state
        for g in grads:
            params, state = self.step(params, state, g)
        return params, state


@pytest.fixture(scope="module", params=NAMES)
def trainer(request):
    """One compiled step per optimizer for the tests that can share it."""
    return Trainer(make(request.param), request.param)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), a, b)


def state_of(tree):
    """The one PreconditionState in an optimizer's state."""
    kind = matprec.jax.PreconditionState
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kind))
    (state,) = [node for node in nodes if isinstance(node, kind)]
    return state


def assert_changed(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.size == 0 or not np.array_equal(x, y)


# ---------------------------------------- jit, scan, chain, masked


def test_one_trace_serves_all_steps(trainer):
    params = normal(0)
    new, state = trainer.run(params, [normal(1)])  # compiles, unless another test did
    traces = trainer.traces
    new, state = trainer.run(new, [normal(i) for i in range(2, 5)], state)
    assert_changed(params, new)
    assert trainer.traces == traces
    assert state_of(state).count == 4
    assert state_of(state).count.dtype == jnp.int32


def test_scan_equals_a_loop(trainer):
    params, grads = normal(0), [normal(i) for i in range(1, 4)]
    optimizer = trainer.optimizer

    def body(carry, g):
        updates, state = optimizer.update(g, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads)
    scanned, _ = jax.lax.scan(body, (params, optimizer.init(params)), stacked)
    assert_close(scanned, trainer.run(params, grads))


SMALL = {"w": (3, 4), "b": (4,)}


def test_eager_and_jitted_calls_agree():
    params, grads = normal(0, SMALL), normal(1, SMALL)
    optimizer = make("asgo")
    state = optimizer.init(params)
    assert_equal(jax.jit(optimizer.init)(params), state)
    jitted = jax.jit(optimizer.update)(grads, state, params)
    assert_close(optimizer.update(grads, state, params), jitted)


@pytest.mark.parametrize("name", NAMES)
def test_chain(name):
    params, grads = normal(0, SMALL), [normal(i, SMALL) for i in (1, 2)]
    clip = optax.clip_by_global_norm(0.5)
    chained, state = Trainer(optax.chain(clip, make(name))).run(params, grads)
    clipped = [clip.update(g, clip.init(params))[0] for g in grads]
    expected, _ = Trainer(make(name)).run(params, clipped)
    assert_close(chained, expected)
    assert set(matprec.jax.counters(state)) == {"failed_roots", "skipped_updates"}


@pytest.mark.parametrize("name", NAMES)
def test_masked(name):
    params, grads = normal(0, SMALL), normal(1, SMALL)
    roles = {"roles": {"w": "matrix", "b": "vector"}}
    masked = optax.masked(make(name, **roles), {"w": True, "b": False})
    updates, state = jax.jit(masked.update)(grads, masked.init(params), params)
    alone = make(name)
    only = {"w": params["w"]}
    expected, _ = jax.jit(alone.update)({"w": grads["w"]}, alone.init(only), only)
    np.testing.assert_array_equal(updates["b"], grads["b"])
    assert_close(updates["w"], expected["w"])
    assert matprec.jax.counters(state)["skipped_updates"] == 0


def test_donated_state(trainer):
    params, grads = normal(0), [normal(1), normal(2)]
    expected, _ = trainer.run(params, grads)
    donating = Trainer(trainer.optimizer, donate_argnums=(0, 1))
    state = trainer.optimizer.init(params)
    for made in (state, jax.jit(trainer.optimizer.init)(params)):
        pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(made) if x.size]
        assert len(set(pointers)) == len(pointers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # JAX warns of donations that it could not use
        params, state_after = donating.step(jax.tree.map(jnp.copy, params), state, grads[0])
        assert all(x.is_deleted() for x in jax.tree.leaves(state))
        params, _ = donating.step(params, state_after, grads[1])
    assert_close(params, expected)


# ---------------------------------------- injected hyperparameters


@pytest.mark.parametrize("name", NAMES)
def test_injected_hyperparameters(name):
    alias = getattr(matprec.jax, name)
    static = alias.static_args
    assert f"static_args={name}.static_args" in alias.__doc__
    schedule = optax.linear_schedule(0.2, 0.0, 5)
    common = {"weight_decay": 0.1, "beta1": 0.8, "eps": 1e-2, "state_dtype": jnp.float32}
    params, grads = normal(0, SMALL), [normal(i, SMALL) for i in (1, 2, 3)]
    injected = optax.inject_hyperparams(alias, static_args=static)(schedule, **common)
    trainer = Trainer(injected)
    new, state = trainer.run(params, grads)
    plain = Trainer(alias(schedule, **common))
    expected, _ = plain.run(params, grads)
    assert_close(new, expected, 1e-4)
    assert state.hyperparams["learning_rate"] == pytest.approx(0.2 * 3 / 5)
    floats = {"learning_rate", "weight_decay", "beta1", "beta2", "eps"}
    assert floats <= set(state.hyperparams)
    assert not set(state.hyperparams) & {*static, "refresh_every", "nesterov", "graft", "side"}

    state.hyperparams["weight_decay"] = jnp.float32(7.0)
    heavier, _ = trainer.step(new, state, grads[0])
    state.hyperparams["weight_decay"] = jnp.float32(0.1)
    lighter, _ = trainer.step(new, state, grads[0])
    assert_changed(heavier["w"], lighter["w"])
    assert trainer.traces == 1


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


@pytest.mark.parametrize("name", NAMES)
def test_injected_hyperparameters_do_not_promote_the_state(x64, name):
    params = normal(0, {"a": (3, 4)}, "float64") | normal(0, {"b": (4, 5), "c": (4,)})
    alias = getattr(matprec.jax, name)
    injected = optax.inject_hyperparams(alias, static_args=alias.static_args)(0.1)
    state: Any = injected.init(params)
    assert state.hyperparams["beta2"].dtype == jnp.float64
    after = jax.eval_shape(injected.update, params, state, params)[1]
    assert dtypes(after) == dtypes(state)


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
    return [
        ((stack.get("momentum", stack.get("filtered", stack.get("mean")))).shape, "mean" in stack)
        for stack in state_of(optimizer.init(params)).stacks
    ]


@pytest.mark.parametrize("name", MATRIX_NAMES)
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


# ---------------------------------------- dtypes and shapes


def dtypes(tree):
    return jax.tree.map(lambda x: x.dtype.name, tree)


MIXED = {"w": "bfloat16", "v": "float32", "b": "float16"}


def mixed_params():
    shapes = {"w": (3, 4), "v": (3, 4), "b": (4,)}
    return {key: normal(0, shapes[key], dtype) for key, dtype in MIXED.items()}


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_kept_over_float32_state(name):
    optimizer, params = make(name), mixed_params()
    state = optimizer.init(params)
    updates, after = jax.eval_shape(optimizer.update, params, state, params)
    assert dtypes(updates) == MIXED
    assert dtypes(after) == dtypes(state)
    assert set(jax.tree.leaves(dtypes(state_of(state).stacks))) == {"float32"}


def test_half_precision_trains_like_float32():
    params = mixed_params()
    grads = [jax.tree.map(lambda p, k=k: jnp.sin(9 * p + k), params) for k in range(3)]
    trainer = Trainer(make("asgo", eps=1e-2))
    new, _ = trainer.run(params, grads)
    assert trainer.traces == 1
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), (params, grads))
    expected, _ = trainer.run(*wide)
    for key, precision in (("w", 2**-7), ("v", 1e-5), ("b", 2**-9)):
        difference = np.abs(new[key].astype(jnp.float32) - expected[key])
        assert np.max(difference) < 3 * precision * np.max(np.abs(expected[key]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state_dtype", [None, "float64"])
def test_float64(x64, name, state_dtype):
    params = {"w": normal(0, (3, 4), "float64"), "b": normal(0, (4,), "float64")}
    params["v"] = normal(1, (3, 4), "float32")
    optimizer = make(name, state_dtype=state_dtype)
    state = optimizer.init(params)
    updates, after = jax.eval_shape(optimizer.update, params, state, params)
    assert dtypes(updates) == dtypes(params)
    assert dtypes(after) == dtypes(state)
    expected = {"float64"} if state_dtype else {"float32", "float64"}
    assert set(jax.tree.leaves(dtypes(state_of(state).stacks))) == expected


def test_zero_gradients_only_decay(trainer):
    params = normal(0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    new, state = trainer.run(params, [zeros] * 4)

    def expected(p):
        decays = trainer.name == "nadamw" or p.ndim > 1
        return p * (0.99**4 if decays else 1.0)

    assert_close(new, jax.tree.map(expected, params), 1e-6)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
    assert matprec.jax.counters(state) == {"failed_roots": 0, "skipped_updates": 0}


def test_rank_one_gradients_are_fine(trainer):
    params = normal(0)
    outer = jnp.outer(jnp.arange(1.0, 4), jnp.arange(2.0, 6))
    grads = normal(1) | {"twin": outer, "one": jnp.full((1, 1), 1e-12)}
    new, state = trainer.run(params, [grads] * 4)
    assert_changed(params, new)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((new, state)))
    assert matprec.jax.counters(state)["failed_roots"] == 0


# ---------------------------------------- gradients that are not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("where", ["twin", "row", "scalar"])
def test_a_bad_gradient_freezes_its_tensor_alone(trainer, bad, where):
    params, state = trainer.run(normal(0), [normal(1)])
    grads = normal(2)
    entry = () if where == "scalar" else (0, 0)
    spoilt = grads | {where: grads[where].at[entry].set(bad)}
    new, after = trainer.step(params, state, spoilt)
    clean, clean_after = trainer.step(params, state, grads)
    assert_equal(new, clean | {where: params[where]})
    frozen = 0
    for before, mine, other in zip(
        *(state_of(s).stacks for s in (state, after, clean_after)), strict=True
    ):
        for row in range(len(mine["t"])):
            stopped = bool(mine["t"][row] == before["t"][row])
            frozen += stopped
            for key in mine.keys() - {"skipped_updates"}:
                np.testing.assert_array_equal(
                    mine[key][row], (before if stopped else other)[key][row]
                )
            assert mine["skipped_updates"][row] == stopped
    assert frozen == 1
    assert matprec.jax.counters(after)["skipped_updates"] == 1
    recovered, _ = trainer.step(new, after, grads)
    assert_changed(recovered, new)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(recovered))


def test_all_gradients_bad(trainer):
    params, state = trainer.run(normal(0), [normal(1)])
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    new, after = trainer.step(params, state, broken)
    assert_equal(new, params)
    assert matprec.jax.counters(after) == {"failed_roots": 0, "skipped_updates": 6}


@pytest.mark.parametrize("name", MATRIX_NAMES)
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


@pytest.mark.parametrize("name", NAMES)
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
