"""Masks of the shared dropout: how many entries go, independently, whatever the rate's kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads_overrides.base.dropout_jax import Dropout


# Whole, as op by op takes longer, and quickly compiled.
@functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)
def drop(rate, *inputs, seed=3):
    dropout = Dropout(jax.random.PRNGKey(seed), rate, sum(x.size for x in inputs))
    return [dropout(x) for x in inputs]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_share_and_scale_of_what_is_kept(rate):
    first, second = drop(rate, jnp.full((1000, 64), 2.0), jnp.ones((2000, 64)))
    for values, size in ((np.asarray(first), 2.0), (np.asarray(second), 1.0)):
        kept = values != 0
        assert kept.mean() == pytest.approx(1 - rate, abs=5 * (0.25 / values.size) ** 0.5)
        np.testing.assert_allclose(values[kept], size / (1 - rate) if rate < 1 else 0, rtol=1e-6)


def test_the_ends_of_the_range_are_exact():
    x = jnp.ones((300, 300))
    np.testing.assert_array_equal(drop(0.0, x)[0], x)
    np.testing.assert_array_equal(drop(1.0, x)[0], 0 * x)
    np.testing.assert_array_equal(drop(1.0, x * jnp.nan)[0], 0 * x)


def test_masks_are_independent_of_each_other_and_within():
    kept = [np.asarray(x != 0) for x in drop(0.3, *[jnp.ones((400, 500))] * 2)]
    other = np.asarray(drop(0.3, jnp.ones((400, 500)), seed=4)[0] != 0)
    pairs = [(kept[0], kept[1]), (kept[0], other), (kept[0][1:], kept[0][:-1])]
    pairs += [(kept[0][:, lag:], kept[0][:, :-lag]) for lag in (1, 2)]
    for a, b in pairs:
        assert (a & b).mean() == pytest.approx(0.7**2, abs=5 * (0.25 / a.size) ** 0.5)
    # Rows and columns get no favour.
    for axis, length in ((0, 400), (1, 500)):
        spread = 5 * (0.21 / length) ** 0.5
        assert abs(kept[0].mean(axis) - 0.7).max() < spread


def test_one_key_gives_one_mask():
    x = jnp.ones((30, 40))
    np.testing.assert_array_equal(drop(0.5, x)[0], drop(0.5, x)[0])
    assert (drop(0.5, x)[0] != drop(0.5, x, seed=4)[0]).any()


def test_a_traced_rate_gives_the_same_masks_without_a_second_trace():
    x = jnp.ones((30, 41))
    jitted = jax.jit(lambda rate: Dropout(jax.random.PRNGKey(3), rate, x.size)(x))
    for rate in (0.0, 0.1, 0.5, 1.0):
        np.testing.assert_allclose(jitted(rate), drop(rate, x)[0], rtol=1e-6)
    assert jitted._cache_size() == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
@pytest.mark.parametrize("traced", [False, True])
def test_the_inputs_dtype_stays(x64, dtype, traced):
    x = jnp.ones((6, 7), dtype)

    def dropped(rate):
        return Dropout(jax.random.PRNGKey(3), rate, x.size)(x)

    assert (jax.jit(dropped) if traced else dropped)(0.25).dtype == dtype
    assert dropped(jnp.float32(0.25)).dtype == dtype


def test_gradients_pass_through_what_is_kept():
    def summed(x):
        return Dropout(jax.random.PRNGKey(3), 0.25, x.size)(x).sum()

    x = jnp.arange(1.0, 1001.0)
    kept = drop(0.25, x)[0] != 0
    np.testing.assert_allclose(jax.grad(summed)(x), kept / 0.75, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8])
def test_every_size_can_be_drawn_and_no_more(size):
    dropout = Dropout(jax.random.PRNGKey(3), 0.5, size)
    assert dropout(jnp.ones(size)).shape == (size,)
    with pytest.raises(ValueError, match=f"{size + 1} entries, but only {size} were drawn"):
        dropout(jnp.ones(1))
