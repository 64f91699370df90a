"""How close CASPR and Shampoo come to whitening data whose covariance is a Kronecker product.

H = H1 kron H1, H1 tridiagonal of order 10 with 1 on and 1/2 beside the diagonal; data h = H v, v
normal, seen as 10 x 10 gradients H1 V H1. An estimator P of H^-1 is judged by ||P H - I||
(Frobenius). The setting is that of an experiment in lixilinx/psgd_torch (psgd_shampoo_caspr.py).

The library sees the expectation itself: over V = all 100 unit matrices, sums of G G^T and G^T G are
their expected values. P is the direction as a linear map.
"""

import functools

import array_api_compat.torch
import numpy as np
import pytest
from identities_caspr import make_caspr, operator
from stacks import run

from matprec.algorithms import shampoo

ORDER = 10
H1 = np.eye(ORDER) + (np.eye(ORDER, k=1) + np.eye(ORDER, k=-1)) / 2
H = np.kron(H1, H1)
RUN = functools.partial(run, array_api_compat.torch)

SETTINGS = {"beta1": 0, "eps": 0.0, "eps_mode": "absolute"}


def make_shampoo(**hyperparameters):
    return shampoo.Shampoo(graft="none", **hyperparameters)


def gradients_from(noise):
    return [(H1 @ v @ H1)[None] for v in noise]


def estimate(make, noise, **hyperparameters):
    """P and the left statistic after one refresh, in the last step."""
    algorithm = make(start_step=len(noise), **SETTINGS, **hyperparameters)
    _, (*_, state) = RUN(algorithm, gradients_from(noise))
    assert state["last_refresh"][0] == len(noise)
    return operator(algorithm, state, 0), state["left"][0]


def distance(p, scale=1.0):
    return np.linalg.norm(scale * p @ H - np.eye(ORDER**2))


def best_scale(p):
    """The scalar that brings P H closest to I."""
    return np.trace(p @ H) / np.linalg.norm(p @ H) ** 2


ALL_UNITS = np.eye(ORDER**2).reshape(-1, ORDER, ORDER)
SUMS = functools.partial(estimate, noise=ALL_UNITS, beta2=1.0)


def test_statistics_are_the_expectation():
    _, left = SUMS(make_caspr)
    np.testing.assert_allclose(left, np.sum(H1**2) * H1 @ H1, atol=1e-12)


def test_no_preconditioner():
    assert round(distance(np.eye(ORDER**2)), 3) == 10.500


@pytest.mark.parametrize(
    ("make", "hyperparameters", "plain", "rescaled"),
    [
        (make_shampoo, {}, 7.914, 5.385),
        (make_caspr, {"p": 2}, 7.693, 4.759),
        (make_caspr, {"p": 1}, 7.478, 4.286),
    ],
    ids=["shampoo", "caspr", "caspr of order 1"],
)
def test_distance_to_the_inverse(make, hyperparameters, plain, rescaled):
    p, _ = SUMS(make, **hyperparameters)
    assert round(distance(p), 3) == plain
    assert round(distance(p, best_scale(p)), 3) == rescaled


def test_exponent_one_half_with_the_trace_recovers_a_kronecker_product():
    """CASPR is closer than Shampoo of exponent 1/4, but 1/2 is the right one for such data."""
    p, left = SUMS(make_shampoo, exponent=0.5)
    assert distance(p, np.sqrt(np.trace(left))) < 1e-12


@pytest.mark.parametrize(
    ("make", "known"), [(make_shampoo, 7.914), (make_caspr, 7.693)], ids=["shampoo", "caspr"]
)
def test_averages_of_random_data_come_as_close(make, known):
    noise = np.random.default_rng(0).normal(size=(3000, ORDER, ORDER))
    p, _ = estimate(make, noise=noise, beta2=0.9995)
    assert abs(distance(p) - known) < 0.01
