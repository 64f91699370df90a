"""Norm transfer: lengths, directions, and 0/0."""

import array_api_compat.numpy
import array_api_compat.torch
import jax.numpy as jnp
import numpy as np
import pytest
from stacks import norms

from matprec import transfer

NAMESPACES = {"numpy": array_api_compat.numpy, "torch": array_api_compat.torch, "jax": jnp}


@pytest.fixture(params=NAMESPACES)
def xp(request, x64):
    return NAMESPACES[request.param]


def stack(seed):
    """Three matrices of very different lengths."""
    scales = np.array([1e-8, 1.0, 1e8])[:, None, None]
    return np.random.default_rng(seed).normal(size=(3, 4, 5)) * scales


def test_graft(xp):
    direction, magnitude = stack(0), stack(1)[::-1].copy()
    got = np.asarray(transfer.graft(xp, xp.asarray(direction), xp.asarray(magnitude)))
    np.testing.assert_allclose(norms(got), norms(magnitude), rtol=1e-14)
    ratio = got / direction
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1], ratio.shape), rtol=1e-14)
    assert np.all(ratio > 0)


def test_align_rms(xp):
    direction = stack(2)
    for rms in (0.2, xp.asarray(np.float64(3))):
        got = np.asarray(transfer.align_rms(xp, xp.asarray(direction), rms))
        np.testing.assert_allclose(np.sqrt(np.mean(got**2, axis=(1, 2))), float(rms), rtol=1e-14)
        ratio = got / direction
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1], ratio.shape))
        assert np.all(ratio > 0)


def test_zeros_stay_zeros_and_leave_neighbours_alone(xp):
    whole = stack(3)
    holes = np.where(np.arange(3)[:, None, None] == 1, 0.0, whole)
    others = [0, 2]
    aligned = np.asarray(transfer.align_rms(xp, xp.asarray(holes), 0.2))
    np.testing.assert_array_equal(aligned[1], 0)
    expected = np.asarray(transfer.align_rms(xp, xp.asarray(whole), 0.2))
    np.testing.assert_array_equal(aligned[others], expected[others])
    for direction, magnitude in ((holes, whole), (whole, holes), (holes, holes)):
        got = np.asarray(transfer.graft(xp, xp.asarray(direction), xp.asarray(magnitude)))
        np.testing.assert_array_equal(got[1], 0)
        np.testing.assert_allclose(norms(got)[others], norms(whole)[others], rtol=1e-14)


def test_dtype_is_kept(xp):
    x = xp.asarray(stack(4).astype(np.float32)[1:2])
    assert transfer.graft(xp, x, x).dtype == x.dtype
    assert transfer.align_rms(xp, x, 0.2).dtype == x.dtype
