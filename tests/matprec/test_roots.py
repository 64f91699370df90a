"""Inverse roots by every method against float64 SciPy, in every array namespace."""

import itertools
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

from matprec import roots

MODES = ("relative_max", "relative_mean", "absolute")
PRODUCTS = ("newton", "newton_schulz", "polar_express")
NAMESPACES = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch, "jax": jnp}

# Iterations on matrices that have no root overflow, which NumPy says aloud.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encounter")


@pytest.fixture(params=NAMESPACES)
def xp(request, x64):
    return NAMESPACES[request.param]


@pytest.fixture(params=roots.ROOT_METHODS)
def method(request):
    return request.param


@pytest.fixture(params=PRODUCTS)
def products(request):
    return request.param


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


def inverse_power(a, exponent):
    return np.stack([scipy.linalg.fractional_matrix_power(x, -exponent) for x in a])


def root_of(xp, a, exponent=0.5, **options):
    """Roots and flags of a NumPy stack as NumPy arrays."""
    root, ok = roots.inverse_root(xp, xp.asarray(a), exponent, **options)
    return np.asarray(root), np.asarray(ok)


def relative_errors(x, desired):
    norms = [np.linalg.norm(y.astype(np.float64), axis=(-2, -1)) for y in (x - desired, desired)]
    return norms[0] / norms[1]


# ---------------------------------------- roots of positive definite matrices


def test_choices_are_those_of_the_types():
    assert set(roots.EPS_MODES) == set(get_args(roots.EpsMode)) == {*MODES, "outside"}
    assert set(roots.ROOT_METHODS) == set(get_args(roots.RootMethod)) == {"eigh", *PRODUCTS}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("exponent", [0.25, 0.5])
def test_inverse_root(xp, method, mode, exponent):
    x, ok = root_of(xp, STACK, exponent, eps=1e-4, eps_mode=mode, method=method)
    expected = inverse_power(STACK + ridge_of(STACK, 1e-4, mode), exponent)
    for actual, desired in zip(x, expected, strict=True):
        close(actual, desired, 1e-9)
    assert np.all(ok)
    assert ok.shape == (4,)


@pytest.mark.parametrize(
    ("method", "exponent"),
    [("eigh", 1 / 6), ("eigh", 1.0), ("eigh", 0.4)] + [("newton", 1 / p) for p in (1, 3, 6, 8)],
)
def test_other_exponents(xp, method, exponent):
    x, ok = root_of(xp, STACK, exponent, eps=1e-4, method=method)
    expected = inverse_power(STACK + ridge_of(STACK, 1e-4, "relative_max"), exponent)
    for actual, desired in zip(x, expected, strict=True):
        close(actual, desired, 1e-9)
    assert np.all(ok)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [2, 4])
def test_residual_symmetry_and_sign(xp, method, dtype, mode, order):
    a = STACK.astype(dtype)
    x, ok = root_of(xp, a, 1 / order, eps=1e-3, eps_mode=mode, method=method)
    assert x.dtype == dtype
    assert np.all(ok)
    damped = STACK + ridge_of(STACK, 1e-3, mode)
    residual = np.linalg.matrix_power(x.astype(np.float64), order) @ damped - np.eye(6)
    rounding = np.finfo(dtype).eps
    # A root's own error counts `order` times in its power. (How a machine's products round decides
    # how much of this is used: up to 79 at order 4 and condition 1.)
    bound = 25 * order * rounding * np.linalg.cond(damped)
    assert np.all(np.linalg.norm(residual, 2, (-2, -1)) < bound)
    largest = np.max(np.abs(x), axis=(-2, -1), keepdims=True)
    assert np.all(np.abs(x - transposed(x)) <= 8 * rounding * largest)
    assert np.all(np.linalg.eigvalsh(x.astype(np.float64)) > 0)


# Relative Frobenius errors in single precision of roots of 64 x 64 matrices with log-uniform
# spectra. Each bound is about three times what was measured in JAX and torch (NumPy's eigh computes
# in double precision whatever the dtype). A root that is refused is as good as exact.
CONDITIONS = (1e2, 1e4, 1e6, 1e8, 1e10)
LARGE = np.stack([spd(c, n=64, seed=1) for c in CONDITIONS])
BOUNDS = {  # (method, ridge): errors of A^{-1/2}
    ("eigh", 0.0): (1e-5, 4e-4, 0.3, math.inf, math.inf),
    ("newton", 0.0): (4e-6, 1e-4, 1e-2, 0.5, 0),
    ("newton_schulz", 0.0): (2e-6, 6e-5, 6e-3, 0.5, 0),
    ("polar_express", 0.0): (4e-6, 1e-4, 6e-3, 0.5, 0),
    ("eigh", 1e-6): (1e-5, 4e-4, 0.15, 0.15, 0.15),
    ("newton", 1e-6): (4e-6, 1e-4, 6e-3, 1.5e-2, 1.5e-2),
    ("newton_schulz", 1e-6): (2e-6, 6e-5, 3e-3, 1e-2, 1e-2),
    ("polar_express", 1e-6): (4e-6, 1e-4, 4e-3, 1.2e-2, 1.2e-2),
}


@pytest.mark.parametrize("ridge", [0.0, 1e-6])
@pytest.mark.parametrize("exponent", [0.5, 0.25])
def test_single_precision_by_condition(xp, method, ridge, exponent):
    x, ok = root_of(xp, LARGE.astype(np.float32), exponent, eps=ridge, method=method)
    expected = inverse_power(LARGE + ridge_of(LARGE, ridge, "relative_max"), exponent)
    bounds = np.asarray(BOUNDS[method, ridge])
    assert np.all(relative_errors(x, expected)[ok] <= bounds[ok])
    # Nothing that is meaningful in single precision is refused, and nothing without meaning passes.
    assert np.all(ok[:3])
    assert method == "eigh" or ridge > 0 or not ok[4]
    assert np.all(ok) or ridge == 0


@pytest.mark.parametrize("exponent", [0.5, 0.25])
def test_double_precision_by_condition(xp, method, exponent):
    x, ok = root_of(xp, LARGE, exponent, eps=1e-6, eps_mode="absolute", method=method)
    expected = inverse_power(LARGE + 1e-6 * np.eye(64), exponent)
    assert np.all(ok)
    assert np.all(relative_errors(x, expected) <= [3e-14, 2e-12, 1e-10, 1e-10, 1e-10])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [0.5, 0.25])
def test_methods_agree_at_small_condition_numbers(xp, products, dtype, exponent):
    a = np.stack([spd(c, seed=i) for i, c in enumerate([1, 3, 10, 30])]).astype(dtype)
    x, ok = root_of(xp, a, exponent, eps=1e-6, eps_mode="relative_mean", method=products)
    expected, _ = root_of(xp, a, exponent, eps=1e-6, eps_mode="relative_mean", method="eigh")
    assert np.all(ok)
    assert np.all(relative_errors(x, expected) < 30 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(), (0,)])
def test_matrices_of_order_one_and_empty_stacks(xp, method, shape):
    a = np.random.default_rng(0).uniform(0.1, 10, size=(*shape, 1, 1))
    for exponent in (0.5, 1.0) if method in ("eigh", "newton") else (0.5,):
        x, ok = root_of(xp, a, exponent, eps=0.0, method=method)
        assert x.shape == a.shape
        assert ok.shape == shape
        np.testing.assert_allclose(x, a**-exponent, rtol=1e-14)
        assert np.all(ok)


def test_leading_axes_are_a_batch(xp, method):
    x, ok = root_of(xp, STACK.reshape(2, 2, 6, 6), 0.25, eps=1e-3, method=method)
    flat, _ = root_of(xp, STACK, 0.25, eps=1e-3, method=method)
    for actual, desired in zip(x.reshape(4, 6, 6), flat, strict=True):
        close(actual, desired, 1e-12)
    assert ok.shape == (2, 2)


# ---------------------------------------- damping


@pytest.mark.parametrize("mode", ["relative_max", "relative_mean"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_condition_of_a_root_is_bounded(xp, method, mode, dtype, eps):
    """Even a float32 matrix of rank one, whose other eigenvalues are rounding errors."""
    g = np.random.default_rng(0).normal(size=(4, 6, 1)).astype(dtype)
    x, ok = root_of(xp, g @ transposed(g), eps=eps, eps_mode=mode, method=method)
    values = np.linalg.eigvalsh(x.astype(np.float64))
    mean = 6 if mode == "relative_mean" else 1
    bound = math.sqrt((1 + eps) * 2 * mean / eps)
    assert np.all(ok)
    assert np.all(values[:, -1] / values[:, 0] <= bound * 1.01)
    assert np.all(values[:, -1] / values[:, 0] >= 0.3 * bound)


def test_largest_eigenvalue_of_the_products(xp, products):
    """One eigenvalue of 1 and all others slightly smaller is the worst case for its estimate."""
    gaps = [0.0, 0.005, 0.04, 0.1, 0.5]
    values = np.array([[1.0] + [1 - gap] * 62 + [0.0] for gap in gaps])
    basis = orthogonal(64, 3)
    a = (basis * values[:, None, :]) @ basis.T
    x, ok = root_of(xp, a, eps=1e-2, method=products)
    largest = 1 / (1e-2 * (basis[:, -1] @ x @ basis[:, -1]) ** 2)
    assert np.all(ok)
    assert np.all((largest > 0.964) & (largest < 1 + 1e-9))
    assert np.all((largest > 1 - 1e-9) == [True, False, False, False, True])


# What eigenvalues count as with damping outside, for order 6 and a largest one of 1.
LEAST = 6 * np.finfo(float).eps


def test_negative_eigenvalues(xp):
    a = np.stack([np.diag([-0.5, 0, 0, 0, 1.0, 1.0])] * 4)
    expected = {
        "relative_max": [0.005**-0.5, 0.01**-0.5, 1.01**-0.5],
        "relative_mean": [0.00125**-0.5, 0.0025**-0.5, 1.0025**-0.5],
        "absolute": [0.01**-0.5, 0.51**-0.5, 1.51**-0.5],
        "outside": [1 / (LEAST**0.5 + 0.01), 1 / (LEAST**0.5 + 0.01), 1 / 1.01],
    }
    for mode in roots.EPS_MODES:
        x, ok = root_of(xp, a, eps=1e-2, eps_mode=mode)
        negative, zero, one = expected[mode]
        close(x[0], np.diag([negative, zero, zero, zero, one, one]), 1e-12)
        assert np.all(ok)


@pytest.mark.parametrize("mode", MODES)
def test_products_refuse_what_the_ridge_does_not_make_positive(xp, products, mode):
    rows = [[1.0] * 6, [1.0] * 5 + [-0.5], [-1.0] * 6, [1.0] * 5 + [-1e-3]]
    x, ok = root_of(xp, np.stack([*map(np.diag, rows)]), eps=1e-4, eps_mode=mode, method=products)
    np.testing.assert_array_equal(ok, [True, False, False, False])
    close(x[0], np.eye(6) / math.sqrt(1 + 1e-4), 1e-12)


@pytest.mark.parametrize("exponent", [0.5, 0.25, 1.0])
@pytest.mark.parametrize("eps", [1e-8, 0.3])
def test_damping_outside_the_power(xp, exponent, eps):
    x, ok = root_of(xp, STACK, exponent, eps=eps, eps_mode="outside")
    powers = inverse_power(STACK, -exponent)
    for actual, power in zip(x, powers, strict=True):
        close(actual, np.linalg.inv(power + eps * np.eye(6)), 1e-10)
    assert np.all(ok)
    singular = np.stack([np.diag([4.0] + [0.0] * 5)] * 4)
    x, _ = root_of(xp, singular, exponent, eps=eps, eps_mode="outside")
    values = np.diagonal(x, axis1=1, axis2=2)[:, :2]
    null = 1 / ((4 * LEAST) ** exponent + eps)
    np.testing.assert_allclose(values, [[1 / (4**exponent + eps), null]] * 4, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_root_of_zero_is_the_identity_unless_the_ridge_is_absolute(xp, method, mode, eps):
    a = np.stack([np.zeros((6, 6)), np.eye(6), 1e-20 * np.eye(6), np.eye(6)])
    x, ok = root_of(xp, a, eps=eps, eps_mode=mode, method=method)
    expected = eps**-0.5 if mode == "absolute" and eps > 0 else 1.0
    close(x[0], expected * np.eye(6), 1e-12)
    close(x[1], np.eye(6) / math.sqrt(1 + eps), 1e-12)
    assert np.all(ok)


@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_root_of_zero_with_damping_outside(xp, eps):
    x, ok = root_of(xp, np.zeros((4, 6, 6)), eps=eps, eps_mode="outside")
    close(x[0], np.eye(6) / (eps or 1), 1e-12)
    assert np.all(ok)


@pytest.mark.parametrize("mode", roots.EPS_MODES)
def test_without_damping_eigh_drops_null_spaces(xp, mode):
    a = np.stack([np.diag([4.0, 0.0, 0.0, 1.0, 1.0, 1.0])] * 4)
    x, _ = root_of(xp, a, eps=0.0, eps_mode=mode)
    np.testing.assert_allclose(x[0], np.diag([0.5, 0.0, 0.0, 1.0, 1.0, 1.0]), atol=1e-15)


@pytest.mark.parametrize("exponent", [0.5, 0.25])
def test_scale(xp, method, exponent):
    """The squares of these entries, as in a norm, are neither zero nor infinite on the way."""
    a = STACK.astype(np.float32)
    x, _ = root_of(xp, a, exponent, eps=1e-3, method=method)
    for scale in (1e-30, 1e30):
        scaled, ok = root_of(xp, np.float32(scale) * a, exponent, eps=1e-3, method=method)
        assert np.all(ok)
        for actual, desired in zip(scaled, x, strict=True):
            close(actual, desired * scale**-exponent, 1e-4)


# ---------------------------------------- refusals


@pytest.mark.parametrize(
    ("method", "mode"), [*itertools.product(roots.ROOT_METHODS, MODES), ("eigh", "outside")]
)
def test_matrices_that_are_not_finite_are_refused_alone(xp, method, mode):
    options = {"eps": 1e-6, "eps_mode": mode, "method": method}
    clean = np.where(np.arange(4)[:, None, None] == 1, np.eye(6), STACK)
    expected, _ = root_of(xp, clean, 0.25, **options)
    for bad in (np.nan, np.inf, -np.inf):
        dirty = STACK.copy()
        dirty[1, 2, 3] = bad
        x, ok = root_of(xp, dirty, 0.25, **options)
        np.testing.assert_array_equal(ok, [True, False, True, True])
        np.testing.assert_array_equal(x, expected)


def test_matrices_that_diverge_are_refused_alone(xp, products):
    bad = np.stack([STACK[0], np.diag([1, 1, 1, 1, 1, -1.0]), STACK[2], np.diag(6 * [0.0])])
    good = np.stack([STACK[0], np.eye(6), STACK[2], np.eye(6)])
    options = {"eps": 1e-12, "eps_mode": "absolute", "method": products}
    x, ok = root_of(xp, bad, **options)
    np.testing.assert_array_equal(ok, [True, False, True, True])
    np.testing.assert_array_equal(x[[0, 2]], root_of(xp, good, **options)[0][[0, 2]])


def test_roots_that_overflow_are_refused(xp):
    a = (np.array([1e-20, 1e-10, 1, 1e10])[:, None, None] * np.eye(6)).astype(np.float32)
    np.testing.assert_array_equal(root_of(xp, a, 2.0, eps=0.0)[1], [False, True, True, True])


def test_roots_by_products_that_overflow_are_refused(xp):
    """An inverse of 1e40, of a matrix whose entries are all normal numbers."""
    flat = np.full((6, 1), 6**-0.5)
    small = 1e-36 * (np.eye(6) - (1 - 1e-4) * flat @ flat.T)
    a = np.stack([small, 1e4 * small, np.eye(6), np.eye(6)]).astype(np.float32)
    _, ok = root_of(xp, a, 1.0, eps=0.0, method="newton")
    np.testing.assert_array_equal(ok, [False, True, True, True])


def test_one_direction_that_has_not_converged_is_enough_to_refuse(xp, products):
    """In X^p A - I it is an entry of 1/64 everywhere, which the largest entry would not show."""
    flat = np.full((64, 1), 1 / 8)
    smallest = np.array([1e-5, 1e-6, 1e-24, 1e-25, 1.0])[:, None, None]
    _x, ok = root_of(xp, np.eye(64) - (1 - smallest) * flat @ flat.T, eps=0.0, method=products)
    np.testing.assert_array_equal(ok, [True, True, False, False, True])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("method", "exponent"),
    [("newton", 1 / p) for p in (1, 2, 3, 4)] + [("newton_schulz", 1 / p) for p in (2, 4)],
)
def test_eigenvalues_down_to_a_tenth_of_the_rounding_unit_converge(xp, method, exponent, dtype):
    rounding = float(np.finfo(dtype).eps)
    values = np.array([1.0, 0.1, 1e-3, 1e-5, rounding, rounding / 10], dtype)
    x, ok = root_of(xp, np.stack([np.diag(values)] * 4), exponent, eps=0.0, method=method)
    assert np.all(ok)
    actual = np.diagonal(x[0]) * values.astype(np.float64) ** exponent
    np.testing.assert_allclose(actual, 1, rtol=5e-5)


def test_newton_is_accepted_within_a_tenth(xp):
    """In a stack where the smallest eigenvalue ranges from what converges to what does not."""
    smallest = np.logspace(-17, -18, 4)
    a = np.stack([np.diag([1, 1, 1, 1, 1, value]) for value in smallest])
    x, ok = root_of(xp, a, eps=0.0, method="newton")
    distance = 1 - x[:, 5, 5] ** 2 * smallest
    np.testing.assert_array_equal(ok, distance < 0.1)
    assert np.any((distance > 0.1) & (distance < 0.5))
    assert 0 < np.sum(ok) < 4


def test_polar_express_limits_itself(xp):
    """Small eigenvalues are under-amplified, and refused once that is by more than the bound."""
    smallest = np.array([1e-6, 1e-8, 1e-9, 1e-10])
    a = np.stack([np.diag([1, 1, 1, 1, 1, s]) for s in smallest])
    x, ok = root_of(xp, a, eps=0.0, method="polar_express")
    np.testing.assert_array_equal(ok, [True, True, False, False])
    ratios = x[:, 5, 5] * smallest**0.5
    assert np.all(np.diff(ratios) < 0)
    assert np.all(ratios <= 1 + 1e-9)
    np.testing.assert_allclose(x[:, 0, 0], 1, rtol=1e-7)


def test_singular_statistics_in_single_precision_are_accepted(xp, products):
    """Gram matrices of fewer columns than rows, at the default ridge."""
    rng = np.random.default_rng(0)
    scales = np.logspace(0, -4, 64)[None, :, None] ** np.arange(5)[:, None, None]
    g = (scales * rng.normal(size=(5, 64, 20))).astype(np.float32)
    a = g @ transposed(g)
    for exponent in (0.5, 0.25):
        x, ok = root_of(xp, a, exponent, eps=1e-6, method=products)
        exact, _ = root_of(array_api_compat.numpy, a.astype(np.float64), exponent, eps=1e-6)
        assert np.all(ok)
        assert np.all(relative_errors(x, exact) < 0.03)


REFUSED = [
    ("lu", 0.5, "absolute", "root_method='lu' is not one of"),
    ("eigh", 0.5, "inside", "eps_mode='inside' is not one of"),
    ("newton", 0.5, "outside", "eps_mode='outside' needs root_method='eigh'"),
    ("polar_express", 0.5, "outside", "eps_mode='outside' needs root_method='eigh'"),
    ("newton", 0.3, "absolute", "needs the exponent 1/p with an integer p, not 0.3"),
    ("newton", 2.0, "absolute", "needs the exponent 1/p with an integer p, not 2.0"),
    ("newton", -0.5, "absolute", "needs the exponent 1/p with an integer p, not -0.5"),
    ("newton_schulz", 1 / 6, "absolute", "needs the exponent 1/2 or 1/4, not 0.166"),
    ("polar_express", 1.0, "absolute", "needs the exponent 1/2 or 1/4, not 1.0"),
    ("newton", jnp.ones(()), "absolute", "needs a number as exponent"),
    ("newton_schulz", jnp.asarray(0.5), "absolute", "needs a number as exponent"),
]


@pytest.mark.parametrize(("method", "exponent", "mode", "message"), REFUSED)
def test_what_a_method_cannot_do(method, exponent, mode, message):
    for owner, call in (
        ("Shampoo", lambda: roots.check_root_method("Shampoo", method, exponent, mode)),
        (
            "inverse_root",
            lambda: root_of(np, STACK, exponent, eps=1.0, eps_mode=mode, method=method),
        ),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert str(caught.value).startswith(f"{owner}: ")
        assert "\n" not in str(caught.value)


def test_what_the_methods_can_do():
    for method, exponents in (
        ("eigh", (0.5, 0.3, 2.0, jnp.ones(()))),
        ("newton", (1, 1.0, 0.5, 1 / 3, 0.25, 1 / 7, np.float64(0.125))),
        ("newton_schulz", (0.5, 0.25)),
        ("polar_express", (0.5, 0.25)),
    ):
        for exponent in exponents:
            roots.check_root_method("Owner", method, exponent, "relative_max")
    roots.check_root_method("Owner", "eigh", 0.5, "outside")


# ---------------------------------------- compilation


def test_jit_compiles_once(method):
    traces = []

    @jax.jit
    def compiled(a, eps):
        traces.append(None)
        return roots.inverse_root(jnp, a, 0.5, eps=eps, method=method)

    for eps in (1e-3, 1e-2):
        for a in (STACK.astype(np.float32), STACK[::-1].astype(np.float32)):
            root, ok = compiled(a, eps)
            expected, _ = root_of(array_api_compat.numpy, a, eps=eps, method=method)
            close(np.asarray(root), expected, 1e-4)
            assert np.all(np.asarray(ok))
    assert len(traces) == 1


def test_a_traced_exponent_is_for_eigh(x64):
    def root(a, exponent, method):
        return roots.inverse_root(jnp, a, exponent, eps=1e-3, method=method)[0]

    compiled = jax.jit(root, static_argnums=2)
    for exponent in (0.5, 0.3):
        expected, _ = root_of(jnp, STACK, exponent, eps=1e-3)
        close(np.asarray(compiled(STACK, exponent, "eigh")), expected, 1e-12)
    with pytest.raises(ValueError, match="needs a number as exponent"):
        compiled(STACK, 0.5, "newton")


def test_single_precision_stays_single_under_x64(xp, method):
    x, ok = root_of(xp, STACK.astype(np.float32), eps=1e-3, method=method)
    assert x.dtype == np.float32
    assert ok.dtype == bool
