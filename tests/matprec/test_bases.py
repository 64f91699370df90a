"""Singular bases and their signs against NumPy's decomposition, and what counts as rounding."""

import array_api_compat.numpy
import array_api_compat.torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stacks import close, orthogonal, transposed

from matprec import bases

NAMESPACES = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch}
# The last of each pair is long enough to be reduced to a triangle first.
SHAPES = [(4, 7), (7, 4), (5, 5), (3, 20), (20, 3), (1, 6), (6, 1), (1, 1), (2, 4), (4, 2)]


@pytest.fixture(params=NAMESPACES)
def xp(request):
    return NAMESPACES[request.param]


def stack(shape, count=3, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=(count, *shape))


def small_side(shape):
    return "left" if shape[0] < shape[1] else "right"


def find(xp, grads, *, both=False):
    found, ok = bases.singular_bases(xp, xp.asarray(grads), small_side(grads.shape[-2:]), both=both)
    return {side: np.asarray(basis) for side, basis in found.items()}, np.asarray(ok)


def products(basis, grads, side):
    """<p_i, G r> for the left side, <q_i, G^T r> for the right, r = (cos 1, cos 2, ...)."""
    wide = grads if side == "left" else transposed(grads)
    seen = wide @ np.cos(np.arange(1, wide.shape[-1] + 1))
    return np.einsum("bij,bi->bj", basis, seen)


# ---------------------------------------- bases


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_bases_are_singular_vectors_with_signs(xp, shape, both):
    grads, small = stack(shape), small_side(shape)
    found, ok = find(xp, grads, both=both)
    assert np.all(ok)
    assert set(found) == ({"left", "right"} if both else {small})
    for side, basis in found.items():
        assert basis.shape == (3,) + 2 * (shape[side == "right"],)
        close(transposed(basis) @ basis, np.broadcast_to(np.eye(basis.shape[-1]), basis.shape))
    assert np.all(products(found[small], grads, small) > 0)
    values = np.linalg.svd(grads, compute_uv=False)
    wide = grads if small == "left" else transposed(grads)
    rotated = transposed(found[small]) @ wide
    close(np.linalg.norm(rotated, axis=-1), values)
    close(rotated @ transposed(rotated), values[:, :, None] ** 2 * np.eye(min(shape)))
    if both:
        expected = np.zeros_like(grads)
        for matrix, s in zip(expected, values, strict=True):
            np.fill_diagonal(matrix, s)
        close(transposed(found["left"]) @ grads @ found["right"], expected)


@pytest.mark.parametrize("both", [False, True])
def test_bases_by_hand(xp, both):
    # G r = (-3 cos 2, 2 cos 1), both positive, so the first columns keep the signs of e_1 and e_2;
    # then P^T G = S Q^T has rows -3 e_2 and 2 e_1, and Q's third column is e_3 up to its sign.
    grads = np.array([[[0.0, -3.0, 0.0], [2.0, 0.0, 0.0]]])
    found, _ = find(xp, grads, both=both)
    close(found["left"][0], np.eye(2))
    if both:
        expected = [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        close(np.abs(found["right"][0]), np.abs(expected))
        close(found["right"][0, :, :2], np.array(expected)[:, :2])
    # Of a square matrix the right basis has the say: <q_i, G^T r> for diag(3, -2) are 3 cos 1 > 0
    # and -2 cos 2 > 0, so q = e_1, e_2, and p_2 = -e_2 makes P^T G Q positive.
    found, _ = find(xp, np.array([[[3.0, 0.0], [0.0, -2.0]]]), both=both)
    close(found["right"][0], np.eye(2))
    if both:
        close(found["left"][0], np.diag([1.0, -1.0]))


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 20)])
def test_turning_the_small_side_turns_its_basis(xp, shape):
    grads, small = stack(shape), small_side(shape)
    before = find(xp, grads)[0][small]
    a = orthogonal(min(shape), 1)
    turned = a @ grads if small == "left" else grads @ a.T
    close(find(xp, turned)[0][small], a @ before)
    close(find(xp, -grads)[0][small], -before)


def test_both_or_one_make_no_difference_to_the_small_side(xp):
    for shape in SHAPES:
        grads, small = stack(shape), small_side(shape)
        close(find(xp, grads, both=True)[0][small], find(xp, grads)[0][small])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("shape", [(4, 7), (5, 5), (20, 3)])
def test_compiled_by_jax(x64, shape, both):
    grads, small = stack(shape), small_side(shape)
    compiled = jax.jit(lambda g: bases.singular_bases(jnp, g, small, both=both))
    expected, _ = find(np, grads, both=both)
    grads = np.concat([grads, np.full((1, *shape), np.nan), np.zeros((1, *shape))])
    found, ok = compiled(grads)
    assert list(ok) == [True, True, True, False, True]
    for side, basis in found.items():
        defined = min(shape)  # of a large side
        close(np.asarray(basis)[:3, :, :defined], expected[side][:, :, :defined], 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_errors_dropped_by_jax(x64, dtype):
    grads = stack((12, 12), count=10).astype(dtype)

    @jax.jit
    def rotate(g):
        found, _ = bases.singular_bases(jnp, g, "right", both=True)
        rotated = jnp.matrix_transpose(found["left"]) @ g @ found["right"]
        everywhere = jnp.ones(10, bool)
        return bases.drop_rounding(jnp, rotated, g, (-2, -1), everywhere, everywhere)

    found = rotate(grads)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found != 0, np.broadcast_to(np.eye(12, dtype=bool), found.shape))


# ---------------------------------------- zeros, bad numbers, single precision


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 20)])
def test_zero_and_rank_deficient_gradients_have_orthogonal_bases(xp, shape, both):
    grads = stack(shape)
    grads[0] = 0.0
    grads[1] = np.outer(grads[1][:, 0], grads[1][0])
    found, ok = find(xp, grads, both=both)
    assert np.all(ok)
    for basis in found.values():
        close(transposed(basis) @ basis, np.broadcast_to(np.eye(basis.shape[-1]), basis.shape))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 20)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_are_refused_alone(xp, shape, bad, both):
    grads = stack(shape)
    expected, _ = find(xp, grads, both=both)
    grads[1, 0, 0] = bad
    found, ok = find(xp, grads, both=both)
    assert list(ok) == [True, False, True]
    for side, basis in found.items():
        np.testing.assert_array_equal(basis[[0, 2]], expected[side][[0, 2]])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (6, 6), (4, 30)])
def test_weak_directions_survive_single_precision(xp, shape, scale):
    """Condition number 1e4. Eigenvectors of G G^T leave cosines of 0.1 and more between rows."""
    d = min(shape)
    left, right = orthogonal(shape[0], 1)[:, :d], orthogonal(shape[1], 2)[:, :d]
    grads = ((scale * left * np.logspace(0, -4, d)) @ right.T).astype(np.float32)[None]
    small = small_side(shape)
    found, ok = find(xp, grads)
    assert np.all(ok)
    assert found[small].dtype == np.float32
    basis = found[small].astype(np.float64)[0]
    wide = (grads if small == "left" else transposed(grads)).astype(np.float64)[0]
    rotated = basis.T @ wide
    rows = rotated / np.linalg.norm(rotated, axis=-1, keepdims=True)
    assert np.max(np.abs(rows @ rows.T - np.eye(d))) < 5e-3
    assert np.max(np.abs(basis.T @ basis - np.eye(d))) < 5e-6


def test_generic_vector(xp):
    for dtype in ("float32", "float64"):
        like = xp.asarray(np.ones((2, 2), dtype))
        found = bases.generic_vector(xp, like, 5)
        assert found.dtype == like.dtype
        close(np.asarray(found), np.cos([1, 2, 3, 4, 5]).astype(dtype), 1e-6)


# ---------------------------------------- rounding


def test_the_tolerance_is_a_few_units_of_rounding():
    units = [bases.rounding(np, t) / np.finfo(t).eps for t in (np.float32, np.float64)]
    assert units == pytest.approx([14.7, 181], rel=0.01)


def drop(xp, rotated, grads, axes, where=None, fresh=None):
    everywhere = np.ones(len(grads), bool)
    flags = (everywhere if x is None else x for x in (where, fresh))
    rotated, grads, where, fresh = (xp.asarray(x) for x in (rotated, grads, *flags))
    return np.asarray(bases.drop_rounding(xp, rotated, grads, axes, where, fresh))


@pytest.mark.parametrize("axes", [(-2,), (-1,), (-2, -1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entries_are_dropped_below_the_norm_over_rotated_axes(xp, dtype, axes):
    grads = (stack((3, 4)) * np.array([1e-8, 1e-4, 1.0])[:, None] * 10.0).astype(dtype)
    grads[1, :, 2] = 0.0
    floor = bases.rounding(np, dtype) * np.sqrt(np.sum(grads**2, axis=axes, keepdims=True))
    factors = np.resize([0.5, -0.5, 0.99, 1.01, -1.01, 100.0], grads.shape)
    rotated = (factors * floor).astype(dtype)
    expected = np.where(np.abs(factors) > 1, rotated, 0)
    np.testing.assert_array_equal(drop(xp, rotated, grads, axes), expected)
    # Nothing is dropped elsewhere.
    found = drop(xp, rotated, grads, axes, np.array([True, False, True]))
    np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])
    np.testing.assert_array_equal(found[1], rotated[1])


def test_gradients_whose_squares_underflow_keep_all_entries(xp):
    grads = np.full((1, 2, 3), 1e-30, np.float32)
    np.testing.assert_array_equal(drop(xp, grads, grads, (-2,)), grads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 5, 16, 48])
def test_off_diagonal_rounding_errors_are_below_the_tolerance(xp, dtype, n):
    """P^T G Q is exactly diagonal after dropping, and nothing on the diagonal is lost."""
    grads = stack((n, n), count=20, seed=1).astype(dtype)
    found, _ = find(xp, grads, both=True)
    rotated = np.asarray(
        xp.matmul(
            xp.matmul(xp.asarray(transposed(found["left"])), xp.asarray(grads)),
            xp.asarray(found["right"]),
        )
    )
    kept = drop(xp, rotated, grads, (-2, -1)) != 0
    np.testing.assert_array_equal(kept, np.broadcast_to(np.eye(n, dtype=bool), kept.shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(8, 20), (12, 12), (48, 60)])
def test_null_rows_are_below_the_tolerance(xp, dtype, shape):
    """A gradient of half rank with rows of zeros leaves exact zeros in its null directions."""
    rng, rank = np.random.default_rng(2), shape[0] // 2
    grads = rng.normal(size=(20, shape[0], rank)) @ rng.normal(size=(20, rank, shape[1]))
    grads = grads.astype(dtype)
    small = small_side(shape)
    wide = grads if small == "left" else transposed(grads)
    wide[:, 1, :] = 0.0  # in place: `grads` has it too
    found, _ = find(xp, grads)
    rotated = np.asarray(xp.matmul(xp.asarray(transposed(found[small])), xp.asarray(wide)))
    kept = drop(xp, rotated, wide, (-2,)) != 0
    assert not np.any(kept[:, rank:])
    assert np.all(kept[:, :rank])


def two_sided(xp, bases_of, grads):
    """P^T G Q with the bases of one gradient and another gradient."""
    found, _ = find(xp, bases_of, both=True)
    left, right = (xp.asarray(found[side]) for side in ("left", "right"))
    return np.asarray(xp.matmul(xp.matmul(xp.matrix_transpose(left), xp.asarray(grads)), right))


def test_weak_entries_of_other_gradients_are_kept(xp):
    """Their rows and columns are weak as well, so that they are signal; the coarse floor of the
    bases' own gradient would drop them."""
    rng, n = np.random.default_rng(3), 96
    scales = np.arange(1, n + 1) ** -1.5
    grads = (scales[:, None] * rng.normal(size=(2, n, n)) * scales).astype(np.float32)
    rotated = two_sided(xp, grads[:1], grads[1:])
    kept = drop(xp, rotated, grads[1:], (-2, -1), fresh=np.array([False])) != 0
    coarse = drop(xp, rotated, grads[1:], (-2, -1)) != 0
    assert np.mean(kept) > 0.999
    assert np.mean(coarse) < 0.99


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dead_rows_and_columns_of_other_gradients_are_dropped(xp, dtype):
    rng = np.random.default_rng(4)
    grads = rng.normal(size=(2, 24, 24)).astype(dtype)
    grads[:, 5, :] = 0.0
    grads[:, :, 7] = 0.0
    rotated = two_sided(xp, grads[:1], grads[1:])
    kept = drop(xp, rotated, grads[1:], (-2, -1), fresh=np.array([False]))[0] != 0
    assert np.all(kept[:-1, :-1])
    assert not np.any(kept[-1])
    assert not np.any(kept[:, -1])
