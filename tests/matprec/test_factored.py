"""Time-corrected averages and the factored second moment, written out and at their limits."""

import array_api_compat.numpy
import array_api_compat.torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from stacks import close

from matprec import factored

NAMESPACES = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch}
T = np.array([1.0, 2.0, 3.0, 50.0, 1e6])


@pytest.fixture(params=NAMESPACES)
def xp(request):
    return NAMESPACES[request.param]


# A hyperparameter is a Python number, or under `jax.jit` an array that Python must not look at.
over_numbers = pytest.mark.parametrize("number", [float, jnp.asarray], ids=["static", "traced"])


def corrected(beta, t):
    return beta * (1 - beta ** (t - 1)) / (1 - beta**t)


@over_numbers
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_decays(x64, number, beta):
    found = np.asarray(factored.corrected_decay(jnp, number(beta), jnp.asarray(T)))
    np.testing.assert_allclose(found, corrected(beta, T), rtol=1e-9, atol=1e-15)
    assert found[0] == 0


@pytest.mark.parametrize("beta", [0.9, 0.999])
def test_decays_keep_their_digits_in_single_precision(beta):
    """1 - beta^t formed plainly would be wrong by 3e-5 at beta = 0.999, t = 2."""
    xp = array_api_compat.torch
    found = factored.new_weight(xp, beta, xp.asarray(T.astype(np.float32)))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), (1 - beta) / (1 - beta**T), rtol=1e-6)


def test_a_matrix_that_has_seen_nothing_counts_as_at_its_first_step(xp):
    np.testing.assert_array_equal(np.asarray(factored.new_weight(xp, 0.9, xp.asarray([0.0]))), 1)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1.0])
def test_averages(xp, beta):
    old, new = np.random.default_rng(0).normal(size=(2, len(T), 2, 3))
    found = factored.average(xp, xp.asarray(old), xp.asarray(new), beta, xp.asarray(T))
    if beta == 1:
        expected = old + new
    else:
        decay = corrected(beta, T)[:, None, None]
        expected = decay * old + (1 - decay) * new
    close(np.asarray(found), expected, 1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.9, 1.0])
def test_traced_decays_are_static_ones(x64, beta):
    old, new = np.random.default_rng(0).normal(size=(2, len(T), 2, 3))
    compiled = jax.jit(lambda beta: factored.average(jnp, old, new, beta, jnp.asarray(T)))
    close(compiled(beta), factored.average(jnp, old, new, beta, jnp.asarray(T)), 1e-12)


def test_averages_of_a_constant_are_that_constant(xp):
    x = xp.asarray(np.random.default_rng(1).normal(size=(len(T), 2, 3)))
    found = factored.average(xp, x, x, 0.999, xp.asarray(T))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(x))


def test_sums_are_of_squares_plus_eps(xp):
    x, eps = np.random.default_rng(2).normal(size=(2, 3, 4)), 0.25
    state = {"rows": np.ones((2, 3, 1)), "columns": np.ones((2, 1, 4)), "t": np.array([1.0, 2.0])}
    state = {key: xp.asarray(value) for key, value in state.items()}
    found = factored.average_sums(xp, state, xp.asarray(x), eps, 0.9)
    squares, decay = x**2 + eps, corrected(0.9, np.array([1.0, 2.0]))[:, None, None]
    for key, axis in (("rows", -1), ("columns", -2)):
        expected = decay + (1 - decay) * squares.sum(axis, keepdims=True)
        close(np.asarray(found[key]), expected, 1e-12)


def test_normalise_divides_by_the_root_of_the_outer_product(xp):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, 4))
    rows, columns = rng.uniform(0.1, 2, (2, 3, 1)), rng.uniform(0.1, 2, (2, 1, 4))
    found = factored.normalise(xp, *map(xp.asarray, (x, rows, columns)))
    close(np.asarray(found), x / np.sqrt(rows * columns / rows.sum(1, keepdims=True)), 1e-12)


def test_rows_and_columns_without_any_square_stay_zero(xp):
    x = np.random.default_rng(4).normal(size=(1, 3, 4))
    x[:, 1, :] = x[:, :, 2] = 0.0
    sums = np.sum(x**2, axis=-1, keepdims=True), np.sum(x**2, axis=-2, keepdims=True)
    found = np.asarray(factored.normalise(xp, *map(xp.asarray, (x, *sums))))
    assert np.all(np.isfinite(found))
    np.testing.assert_array_equal(found == 0, x == 0)
    assert np.all(np.asarray(factored.normalise(xp, *map(xp.asarray, (0 * x, *sums)))) == 0)


def test_nothing_underflows_in_single_precision(xp):
    """Sums at eps = 1e-30, whose product no float32 can hold."""
    x = np.full((1, 2, 3), 1e-15, np.float32)
    rows, columns = np.full((1, 2, 1), 3e-30, np.float32), np.full((1, 1, 3), 2e-30, np.float32)
    found = np.asarray(factored.normalise(xp, *map(xp.asarray, (x, rows, columns))))
    assert found.dtype == np.float32
    close(found, np.ones((1, 2, 3)), 1e-5)
