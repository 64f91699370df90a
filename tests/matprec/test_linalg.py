"""Roots, averages and guards against float64 NumPy and SciPy, in every array namespace."""

import array_api_compat.numpy
import array_api_compat.torch
import jax.numpy as jnp
import numpy as np
import pytest
from stacks import close, transposed

from matprec import linalg

NAMESPACES = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch, "jax": jnp}


@pytest.fixture(params=NAMESPACES)
def xp(request, x64):
    return NAMESPACES[request.param]


# ---------------------------------------- refusals


def test_accept_keeps_old_roots_and_counts(xp):
    old = {
        "root": xp.zeros((3, 2, 2)),
        "failed_roots": xp.asarray([0.0, 2.0, 0.0]),
        "t": xp.ones(3),
    }
    new = {"root": xp.ones((3, 2, 2))}
    state = linalg.accept(xp, old, new, xp.asarray([True, False, True]))
    np.testing.assert_array_equal(np.asarray(state["root"])[:, 0, 0], [1, 0, 1])
    np.testing.assert_array_equal(np.asarray(state["failed_roots"]), [0, 3, 0])
    assert state["t"] is old["t"]


# ---------------------------------------- averages


def hyperparameter(xp, value, static):
    """A number, or the same as an array, as `optax.inject_hyperparams` passes it."""
    return value if static else xp.asarray(np.float64(value))


@pytest.mark.parametrize("static", [True, False])
def test_ema(xp, static):
    old, new = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    for beta in (0.0, 0.3, 0.999, 1.0):
        got = linalg.ema(xp, xp.asarray(old), xp.asarray(new), hyperparameter(xp, beta, static))
        expected = old + new if beta == 1 else beta * old + (1 - beta) * new
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:divide by zero encountered")  # log of beta = 0
@pytest.mark.parametrize("static", [True, False])
def test_debias(xp, static):
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    t = np.array([0.0, 1.0, 2.0, 1e4])
    for beta in (0.0, 0.5, 0.999, 1.0):
        got = linalg.debias(xp, xp.asarray(x), hyperparameter(xp, beta, static), xp.asarray(t))
        correction = 1.0 if beta == 1 else 1 - beta ** np.maximum(t, 1)[:, None, None]
        np.testing.assert_allclose(np.asarray(got), x / correction, rtol=1e-11)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999999])
def test_debias_in_float32_keeps_its_digits_at_small_t(xp, beta):
    t = np.array([1, 2, 3, 10], np.float32)
    got = linalg.debias(xp, xp.asarray(np.ones((4, 1, 1), np.float32)), beta, xp.asarray(t))
    exact = 1 / -np.expm1(t.astype(np.float64) * np.log(beta))
    assert np.asarray(got).dtype == np.float32
    np.testing.assert_allclose(np.asarray(got)[:, 0, 0], exact, rtol=5e-7)
    naive = 1 / (1 - np.float32(beta) ** t)
    if beta > 0.99:
        assert np.max(np.abs(naive / exact - 1)) > 1e-5


# ---------------------------------------- products and guards


def test_gram_and_multiply(xp):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    left, right = x @ transposed(x), transposed(x) @ x
    stack = xp.asarray(x)
    close(np.asarray(linalg.gram(xp, stack, "left")), left, 1e-14)
    close(np.asarray(linalg.gram(xp, stack, "right")), right, 1e-14)
    close(np.asarray(linalg.multiply(xp, xp.asarray(left), stack, "left")), left @ x, 1e-14)
    close(np.asarray(linalg.multiply(xp, xp.asarray(right), stack, "right")), x @ right, 1e-14)


def test_identity_norm_and_division(xp):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    eye = np.asarray(linalg.identity_like(xp, xp.asarray(x), 4))
    np.testing.assert_array_equal(eye, np.broadcast_to(np.eye(4), (2, 4, 4)))
    assert eye.dtype == np.float32
    norm = np.asarray(linalg.norm(xp, xp.asarray(x)))
    assert norm.shape == (2, 1, 1)
    np.testing.assert_allclose(norm[:, 0, 0], np.linalg.norm(x, axis=(1, 2)), rtol=1e-6)
    y = xp.asarray([2.0, 0.0, -4.0])
    np.testing.assert_array_equal(np.asarray(linalg.divide_or_zero(xp, 1.0, y)), [0.5, 0, -0.25])


def test_static_numbers_and_arrays():
    for value in (1, 0.5, np.float64(0.5), np.float32(1)):
        assert linalg.is_static(value)
        assert not linalg.is_array(value)
    for value in (jnp.ones(()), np.ones(()), array_api_compat.torch.ones(())):
        assert linalg.is_array(value)
        assert not linalg.is_static(value)
    for value in (True, None, "1", [1.0]):
        assert not linalg.is_static(value)
        assert not linalg.is_array(value)


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3), (2, 4, 3, 5), (1, 2, 3, 2, 3)])
def test_gram_matrices_and_products_along_an_axis(xp, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    for axis in range(1, len(shape)):
        rest = [i for i in range(1, len(shape)) if i != axis]
        unfolded = x.transpose(0, axis, *rest).reshape(shape[0], shape[axis], -1)
        expected = unfolded @ transposed(unfolded)
        old = rng.normal(size=expected.shape)
        got = linalg.ema_mode_gram(xp, xp.asarray(old), xp.asarray(x), axis, 0.7)
        close(np.asarray(got), 0.7 * old + 0.3 * expected, 1e-14)
        gram = expected
        product = linalg.mode_product(xp, xp.asarray(gram), xp.asarray(x), axis)
        expected = np.moveaxis(
            (gram @ unfolded).reshape(shape[0], shape[axis], *(shape[i] for i in rest)), 1, axis
        )
        close(np.asarray(product), expected, 1e-13)


def test_squares_and_norms_of_any_order(xp):
    for shape in ((3, 2), (3, 2, 4), (3, 2, 2, 2)):
        x = np.random.default_rng(1).normal(size=shape)
        flat = x.reshape(3, -1)
        close(np.asarray(linalg.squares(xp, xp.asarray(x))), np.sum(flat**2, axis=1), 1e-14)
        norm = np.asarray(linalg.norm(xp, xp.asarray(x)))
        assert norm.shape == (3,) + (1,) * (len(shape) - 1)
        close(norm.ravel(), np.linalg.norm(flat, axis=1), 1e-14)
        where = linalg.per_matrix(xp, xp.asarray(np.arange(3.0)), xp.asarray(x))
        assert tuple(where.shape) == norm.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_matrices(dtype, xp):
    x = np.ones((7, 200, 300), dtype)
    for row, value in enumerate((np.nan, np.inf, -np.inf)):
        x[row, 1, row] = value
    x[3, 1, :2] = [np.inf, -np.inf]
    x[4] = 0
    x[5] = np.finfo(dtype).max
    x[6, :, ::2] = -np.finfo(dtype).max
    finite = np.asarray(linalg.all_finite(xp, xp.asarray(x)))
    np.testing.assert_array_equal(finite, [False] * 4 + [True] * 3)
    several = linalg.all_finite(xp, xp.asarray(x[None, 2:6]))
    np.testing.assert_array_equal(np.asarray(several), [[False, False, True, True]])


def test_rows_of_two_kinds(xp):
    x = np.arange(24.0).reshape(4, 2, 3)
    flags = np.array([True, False, True, False])
    one, other = {"x": xp.asarray(x)}, {"x": xp.asarray(-x)}
    found = linalg.either(xp, xp.asarray(flags), xp.asarray(~flags), lambda: one, lambda: other)
    np.testing.assert_array_equal(np.asarray(found["x"]), np.where(flags[:, None, None], x, -x))


def test_zero_matrices(xp):
    x = np.zeros((4, 3, 3))
    x[1, 2, 2] = 1e-300
    x[2] = np.outer([0, 2, 1], [0, 2, 1])
    x[3] = np.nan
    zero = np.asarray(linalg.vanishes(xp, xp.asarray(x)))
    np.testing.assert_array_equal(zero, [True, False, False, False])


def test_orthonormal_columns_span_the_same(xp):
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    got = np.asarray(linalg.orthonormal(xp, xp.asarray(x)))
    close(transposed(got) @ got, np.broadcast_to(np.eye(3), (2, 3, 3)), 1e-14)
    close(got @ transposed(got) @ x, x, 1e-14)
