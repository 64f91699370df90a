"""Roots, averages and guards against float64 NumPy and SciPy, in every array namespace."""

import math
from typing import get_args

import array_api_compat.numpy
import array_api_compat.torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from stacks import close, orthogonal, transposed

from matprec import linalg

MODES = linalg.EPS_MODES
NAMESPACES = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch, "jax": jnp}


@pytest.fixture(params=NAMESPACES)
def xp(request, x64):
    return NAMESPACES[request.param]


def spd(condition, n=6, seed=0):
    """A symmetric positive definite matrix with log-uniform eigenvalues up to 3."""
    basis = orthogonal(n, seed)
    return basis @ np.diag(3 * np.logspace(0, -math.log10(condition), n)) @ basis.T


STACK = np.stack([spd(c, seed=i) for i, c in enumerate([1, 1e1, 1e3, 1e5])])


def ridge_of(a, eps, mode):
    """The multiple of the identity that damping adds to positive semi-definite matrices."""
    values = np.linalg.eigvalsh(a)
    scale = {"absolute": 1.0, "relative_max": values[..., -1], "relative_mean": values.mean(-1)}
    return (eps * scale[mode] * np.ones(len(a)))[:, None, None] * np.eye(a.shape[-1])


# ---------------------------------------- inverse roots


def test_modes_are_those_of_the_type():
    assert set(MODES) == set(get_args(linalg.EpsMode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("exponent", [0.25, 0.5, 1 / 6, 1.0])
def test_inverse_root(xp, mode, exponent):
    root, ok = linalg.inverse_root(xp, xp.asarray(STACK), exponent, eps=1e-4, eps_mode=mode)
    damped = STACK + ridge_of(STACK, 1e-4, mode)
    for x, a in zip(np.asarray(root), damped, strict=True):
        close(x, scipy.linalg.fractional_matrix_power(a, -exponent), 1e-9)
    assert np.all(np.asarray(ok))
    assert np.asarray(ok).shape == (4,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [2, 4])
def test_residual_symmetry_and_sign(xp, dtype, mode, order):
    a = STACK.astype(dtype)
    root, ok = linalg.inverse_root(xp, xp.asarray(a), 1 / order, eps=1e-3, eps_mode=mode)
    x = np.asarray(root)
    assert x.dtype == dtype
    assert np.all(np.asarray(ok))
    damped = STACK + ridge_of(STACK, 1e-3, mode)
    residual = np.linalg.matrix_power(x.astype(np.float64), order) @ damped - np.eye(6)
    rounding = np.finfo(dtype).eps
    assert np.all(np.linalg.norm(residual, 2, (-2, -1)) < 50 * rounding * np.linalg.cond(damped))
    largest = np.max(np.abs(x), axis=(-2, -1), keepdims=True)
    assert np.all(np.abs(x - transposed(x)) <= 8 * rounding * largest)
    assert np.all(np.linalg.eigvalsh(x.astype(np.float64)) > 0)


@pytest.mark.parametrize("mode", ["relative_max", "relative_mean"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_condition_of_a_root_is_bounded(xp, mode, dtype):
    """Even a float32 matrix of rank one, whose other eigenvalues are rounding errors."""
    g = np.random.default_rng(0).normal(size=(3, 6, 1)).astype(dtype)
    for eps in (1e-3, 1e-6):
        root, ok = linalg.inverse_root(
            xp, xp.asarray(g @ transposed(g)), 0.5, eps=eps, eps_mode=mode
        )
        values = np.linalg.eigvalsh(np.asarray(root, np.float64))
        mean = 6 if mode == "relative_mean" else 1
        bound = math.sqrt((1 + eps) * 2 * mean / eps)
        assert np.all(np.asarray(ok))
        assert np.all(values[:, -1] / values[:, 0] <= bound * 1.01)
        assert np.all(values[:, -1] / values[:, 0] >= 0.3 * bound)


def test_negative_eigenvalues(xp):
    a = np.diag([-0.5, 1.0])[None]
    expected = {
        "relative_max": [0.005**-0.5, 1.01**-0.5],
        "relative_mean": [0.00125**-0.5, 1.0025**-0.5],
        "absolute": [0.01**-0.5, 1.51**-0.5],
    }
    for mode in MODES:
        root, ok = linalg.inverse_root(xp, xp.asarray(a), 0.5, eps=1e-2, eps_mode=mode)
        close(np.asarray(root)[0], np.diag(expected[mode]), 1e-12)
        assert np.all(np.asarray(ok))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_root_of_zero_is_the_identity_unless_the_ridge_is_absolute(xp, mode, eps):
    a = np.stack([np.zeros((3, 3)), np.eye(3)])
    root, ok = linalg.inverse_root(xp, xp.asarray(a), 0.5, eps=eps, eps_mode=mode)
    expected = eps**-0.5 if mode == "absolute" and eps > 0 else 1.0
    close(np.asarray(root)[0], expected * np.eye(3), 1e-12)
    close(np.asarray(root)[1], np.eye(3) / math.sqrt(1 + eps), 1e-12)
    assert np.all(np.asarray(ok))


@pytest.mark.parametrize("mode", MODES)
def test_without_damping_null_spaces_are_dropped(xp, mode):
    a = np.diag([4.0, 0.0, 1.0])[None]
    root, _ = linalg.inverse_root(xp, xp.asarray(a), 0.5, eps=0.0, eps_mode=mode)
    np.testing.assert_allclose(np.asarray(root)[0], np.diag([0.5, 0.0, 1.0]), atol=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", MODES)
def test_matrices_that_are_not_finite_are_refused_alone(xp, bad, mode):
    dirty = STACK.copy()
    dirty[1, 2, 3] = bad
    clean = np.where(np.arange(4)[:, None, None] == 1, np.eye(6), STACK)
    root, ok = linalg.inverse_root(xp, xp.asarray(dirty), 0.25, eps=1e-6, eps_mode=mode)
    expected, _ = linalg.inverse_root(xp, xp.asarray(clean), 0.25, eps=1e-6, eps_mode=mode)
    np.testing.assert_array_equal(np.asarray(ok), [True, False, True, True])
    np.testing.assert_array_equal(np.asarray(root), np.asarray(expected))


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_roots_that_overflow_are_refused(xp):
    a = np.stack([1e-20 * np.eye(3), np.eye(3)]).astype(np.float32)
    _, ok = linalg.inverse_root(xp, xp.asarray(a), 2.0, eps=0.0)
    np.testing.assert_array_equal(np.asarray(ok), [False, True])


def test_under_jit_with_traced_hyperparameters(x64):
    @jax.jit
    def root_of(a, exponent, eps):
        return linalg.inverse_root(jnp, a, exponent, eps=eps)[0]

    expected, _ = linalg.inverse_root(jnp, jnp.asarray(STACK), 0.5, eps=1e-3)
    close(np.asarray(root_of(STACK, 0.5, 1e-3)), np.asarray(expected), 1e-12)


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
    for value in (1, 0.5, np.float64(0.5)):
        assert linalg.is_static(value)
        assert not linalg.is_array(value)
    for value in (jnp.ones(()), np.float32(1), array_api_compat.torch.ones(())):
        assert linalg.is_array(value)
        assert not linalg.is_static(value)
    for value in (True, None, "1", [1.0]):
        assert not linalg.is_static(value)
        assert not linalg.is_array(value)
