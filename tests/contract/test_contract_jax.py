"""The contract of an optax transformation, for every optimizer of the registry.

`trainer` compiles one step per optimizer, for parameters of all kinds; most tests share it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimizers
import pytest
import torch
from jax_steps import (
    Trainer,
    assert_changed,
    assert_close,
    assert_equal,
    assert_finite,
    dtypes,
    injected_into,
    make,
    normal,
    state_of,
)

import matprec.jax

pytestmark = pytest.mark.usefixtures("quick_compilation")
names = pytest.mark.parametrize("name", optimizers.NAMES)


@pytest.fixture(scope="module", params=optimizers.NAMES)
def trainer(request):
    return Trainer(make(request.param), request.param)


def test_one_trace_and_one_compilation_serve_all_steps(trainer):
    params = normal(0)
    new, state = trainer.run(params, [normal(i) for i in range(1, 5)])
    assert_changed(params, new)
    assert_finite((new, state))
    assert (trainer.traces, trainer.compilations) == (1, 1)
    assert state_of(state).count == 4
    assert state_of(state).count.dtype == jnp.int32


def test_zero_gradients_only_decay(trainer):
    params = normal(0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    new, state = trainer.run(params, [zeros] * 4)
    whole = trainer.name not in optimizers.MATRIX_NAMES

    def expected(p):
        is_matrix = p.ndim > 1 and min(p.shape) > 1
        idle = optimizers.idle_steps(trainer.name) if is_matrix else 0
        return p * (0.99 ** (4 - idle) if whole or p.ndim > 1 else 1.0)

    assert_close(new, jax.tree.map(expected, params), 1e-6)
    assert_finite(state)
    assert matprec.jax.counters(state) == {"failed_roots": 0, "skipped_updates": 0}


def test_singular_gradients_are_fine(trainer):
    """Of rank one, with rows and columns of zeros, and almost zero."""
    params = normal(0)
    outer, sparse = np.outer(np.arange(1, 4), np.arange(2, 6)), np.zeros((3, 4))
    sparse[1, 2] = 2.0
    grads = normal(1) | {
        "dense": {"kernel": jnp.float32(sparse), "bias": jnp.float32(np.ones(4))},
        "twin": jnp.float32(outer),
        "one": jnp.float32([[1e-12]]),
    }
    new, state = trainer.run(params, [grads] * 4)
    assert_changed(params, new)
    assert_finite((new, state))
    assert matprec.jax.counters(state)["failed_roots"] == 0


def test_a_bad_gradient_freezes_its_tensor_alone(trainer):
    params, state = trainer.run(normal(0), [normal(1)])
    grads = normal(2)
    clean, clean_after = trainer.step(params, state, grads)
    for where, bad in (("twin", np.nan), ("row", -np.inf), ("scalar", np.inf), ("twin", 1e30)):
        spoilt = np.array(grads[where])
        spoilt[(0,) * spoilt.ndim] = bad
        new, after = trainer.step(params, state, grads | {where: jnp.asarray(spoilt)})
        assert_equal(new, clean | {where: params[where]})
        assert frozen_rows(state, after, clean_after) == 1
        assert matprec.jax.counters(after)["skipped_updates"] == 1
        recovered, _ = trainer.step(new, after, grads)
        assert_changed(recovered, new)
        assert_finite(recovered)
    assert trainer.compilations == 1


def frozen_rows(before, after, clean):
    """How many matrices have kept their state, all others being as after a clean step."""
    frozen = 0
    for old, mine, other in zip(*(state_of(s).stacks for s in (before, after, clean)), strict=True):
        old, mine, other = jax.device_get((old, mine, other))
        for row in range(len(mine["t"])):
            stopped = bool(mine["t"][row] == old["t"][row])
            frozen += stopped
            for key in mine.keys() - {"skipped_updates"}:
                expected = (old if stopped else other)[key][row]
                np.testing.assert_array_equal(mine[key][row], expected)
            assert mine["skipped_updates"][row] == stopped
    return frozen


def test_all_gradients_bad(trainer):
    params, state = trainer.run(normal(0), [normal(1)])
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), params)
    new, after = trainer.step(params, state, broken)
    assert_equal(new, params)
    assert matprec.jax.counters(after) == {"failed_roots": 0, "skipped_updates": 6}


# ---------------------------------------- composed with what optax has


STEPS, RATE, DECAY, NORM = 5, 0.2, 0.1, 3.0


@names
def test_composed_under_scan_equals_torch(x64, name):
    """scan(chain(clip, masked(inject_hyperparams))), with a schedule, against torch's loop."""
    alias = optimizers.alias(name)
    settings = optimizers.quick(name, weight_decay=DECAY)

    def schedule(count):  # optax's own give float32
        return RATE * (1 - jnp.float64(count) / STEPS)

    injected = optax.inject_hyperparams(alias, static_args=alias.static_args)(schedule, **settings)
    optimizer = optax.chain(
        optax.clip_by_global_norm(NORM),
        optax.masked(injected, {"kernel": True, "bias": True, "masked": False}),
    )
    shapes = {"kernel": (4, 4), "bias": (4,), "masked": (2, 2)}
    params = normal(0, shapes, "float64")
    grads = [normal(i, shapes, "float64") for i in range(1, STEPS + 1)]

    @jax.jit
    def train(params, stacked):
        def body(carry, g):
            updates, state = optimizer.update(g, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        return jax.lax.scan(body, (params, optimizer.init(params)), stacked)[0]

    new, state = train(params, jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads))

    tensors = [torch.tensor(np.array(params["kernel"].T)), torch.tensor(np.array(params["bias"]))]
    tensors = [torch.nn.Parameter(tensor) for tensor in tensors]
    twin = optimizers.torch_class(name)(tensors, RATE, **settings)
    masked = np.array(params["masked"])
    for step, g in enumerate(grads):
        scale = min(1.0, NORM / float(optax.global_norm(g)))
        tensors[0].grad = torch.tensor(scale * np.array(g["kernel"].T))
        tensors[1].grad = torch.tensor(scale * np.array(g["bias"]))
        twin.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        twin.step()
        masked += scale * np.array(g["masked"])
    expected = {"kernel": tensors[0].detach().T, "bias": tensors[1].detach(), "masked": masked}
    assert_close(new, jax.tree.map(np.asarray, expected), 1e-9)
    assert matprec.jax.counters(state) == {"failed_roots": 0, "skipped_updates": 0}

    hyperparams = injected_into(state)
    assert hyperparams["learning_rate"] == pytest.approx(RATE / STEPS)
    numbers = {k for k, v in optimizers.defaults(name).items() if isinstance(v, float)}
    assert hyperparams.keys() == numbers | FALLBACK[name in optimizers.MATRIX_NAMES]


COMMON = {"learning_rate", "weight_decay"}
OF_THE_FALLBACK = {"fallback_lr_scale", "fallback_beta1", "fallback_beta2", "fallback_eps"}
FALLBACK = {False: COMMON, True: COMMON | OF_THE_FALLBACK}


# ---------------------------------------- dtypes, and memory of its own


MIXED = {"w": "bfloat16", "v": "float32", "b": "float16"}


@names
def test_half_precision_is_kept_over_float32_state(name):
    shapes = {"w": (3, 4), "v": (3, 4), "b": (4,)}
    params = {key: normal(0, shapes[key], dtype) for key, dtype in MIXED.items()}
    optimizer = make(name)
    state = optimizer.init(params)
    updates, after = jax.eval_shape(optimizer.update, params, state, params)
    assert dtypes(updates) == MIXED
    assert dtypes(after) == dtypes(state)
    assert set(jax.tree.leaves(dtypes(state_of(state).stacks))) == {"float32"}


@names
def test_float64(x64, name):
    """The state's dtype follows each parameter's or is given; injected hyperparameters, which are
    float64 then, do not change it.
    """
    params = {"w": normal(0, (3, 4), "float64"), "b": normal(0, (4,), "float64")}
    params["v"] = normal(1, (3, 4), "float32")
    alias = optimizers.alias(name)
    injected = optax.inject_hyperparams(alias, static_args=alias.static_args)
    for state_dtype, expected in (("float64", {"float64"}), (None, {"float32", "float64"})):
        optimizer = alias(0.1, 0.1, state_dtype=state_dtype)
        state = optimizer.init(params)
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
        assert dtypes(updates) == dtypes(params)
        assert dtypes(after) == dtypes(state)
        assert set(jax.tree.leaves(dtypes(state_of(state).stacks))) == expected
        optimizer = injected(0.1, 0.1, state_dtype=state_dtype)
        state = optimizer.init(params)
        assert injected_into(state)["weight_decay"].dtype == jnp.float64
        _, after = jax.eval_shape(optimizer.update, params, state, params)
        assert dtypes(after) == dtypes(state)


@names
def test_no_two_arrays_of_the_state_share_memory(name):
    """They could not be donated then."""
    optimizer, params = make(name), normal(0, {"w": (3, 4), "b": (4,)})
    for state in (optimizer.init(params), jax.jit(optimizer.init)(params)):
        pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
        assert len(set(pointers)) == len(pointers)
