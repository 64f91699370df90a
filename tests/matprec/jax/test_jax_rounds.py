"""Rows refreshed some at a time become what they become all at once."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optimizers
import pytest

from matprec.algorithms import Algorithm
from matprec.jax import rounds
from matprec.step import Refresh


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counting(Algorithm):
    """Its refresh adds the gradient: a second one would show."""

    refreshed: ClassVar = ("basis",)

    def refresh(self, xp, state, grads):
        return state | {"basis": state["basis"] + grads}


def stack(rows, dtype=jnp.float32):
    rng = np.random.default_rng(rows)
    grads = jnp.asarray(rng.standard_normal((rows, 3, 4)), dtype)
    counters = {key: jnp.zeros(rows, dtype) for key in ("last_refresh", "failed_roots")}
    carry = {"basis": jnp.asarray(rng.standard_normal((rows, 3, 4)), dtype), **counters}
    state = carry | {"t": 1.0 + jnp.arange(rows, dtype=dtype)}
    return Refresh(jnp, Counting(), state, grads), carry


@pytest.mark.parametrize(("rows", "size"), [(7, 1), (7, 3), (6, 3), (5, 5), (5, 9), (1, 1), (4, 0)])
@pytest.mark.parametrize("pattern", ["all", "some", "last", "none"])
def test_every_chosen_row_has_one_refresh(monkeypatch, rows, size, pattern):
    refresh, carry = stack(rows)
    monkeypatch.setattr(rounds, "ROUND_BYTES", size * 3 * 4 * 4)
    number = np.arange(rows)
    chosen = {
        "all": number >= 0,
        "some": number % 2 == 0,
        "last": number == rows - 1,
        "none": number < 0,
    }[pattern]
    found = jax.jit(lambda *given: rounds.in_rounds(refresh, *given))(chosen, carry)
    expected = refresh(jnp.asarray(chosen), carry)
    assert found.keys() == carry.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    moved = np.any(found["basis"] != carry["basis"], axis=(1, 2))
    np.testing.assert_array_equal(moved, chosen)


def test_the_largest_array_counts(monkeypatch):
    refresh, carry = stack(6, jnp.bfloat16)
    monkeypatch.setattr(rounds, "ROUND_BYTES", 4 * 3 * 4 * 2)
    assert rounds._round(refresh, carry) == 4
    assert rounds._round(refresh, carry | {"root": jnp.zeros((6, 4, 4), jnp.float32)}) == 1
    empty = dataclasses.replace(refresh, grads=jnp.zeros((6, 0, 4)))
    assert rounds._round(empty, {"root": jnp.zeros((6, 0, 0))}) == 6


def test_other_devices_take_all_rows_at_once(monkeypatch):
    refresh, carry = stack(6)
    monkeypatch.setattr(rounds, "ROUND_BYTES", 1)
    assert rounds._round(refresh, carry) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert rounds._round(refresh, carry) == 6


def trained(name, monkeypatch, size):
    """Seven steps, in the second of which one of five matrices sees its first gradient."""
    monkeypatch.setattr(rounds, "ROUND_BYTES", size)
    rng = np.random.default_rng(0)
    params = {str(i): jnp.asarray(rng.standard_normal((5, 4))) for i in range(5)}
    settings = optimizers.quick(name, 3)
    optimizer = optimizers.alias(name)(0.1, 0.1, **settings)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(7):
        grads = {key: jnp.asarray(rng.standard_normal((5, 4))) for key in params}
        if step == 0:
            grads["3"] = 0 * grads["3"]
        updates, state = update(grads, state, params)
        params = {key: value + updates[key] for key, value in params.items()}
    return params, state


@pytest.mark.parametrize(
    "name", [name for name in optimizers.REPRESENTATIVES if name in optimizers.REFRESHING_NAMES]
)
def test_optimizers_do_the_same_in_rounds(x64, monkeypatch, name):
    whole, small = (trained(name, monkeypatch, size) for size in (1 << 20, 1))
    for found, expected in zip(jax.tree.leaves(small), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
