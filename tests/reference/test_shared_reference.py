"""What the references share: roots, sides, lengths, and Shampoo with one side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from reference.checks import (
    NO_DECAY,
    assert_all_close,
    direction,
    normal,
    orthogonal,
    power,
    updates,
)
from reference.optimizers import ASGO, Shampoo, inverse_root, right_is_small, scaled_to
from reference.two_sided import CASPR, KLShampoo


def test_shampoo_with_one_side_has_exponent_one_half():
    g1, g2 = normal((4, 7), 1), normal((4, 7), 2)
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 1.0, "eps": 1e-15, "graft": "none"}
    hp |= {"max_dim": 6, "refresh_every": 1, **NO_DECAY}
    total = g1 @ g1.T + g2 @ g2.T
    for exponent, expected in ((None, 1 / 2), (0.25, 0.25)):
        ref = Shampoo([(4, 7)], exponent=exponent, **hp)
        u = power(total, -expected) @ g2
        np.testing.assert_allclose(updates(ref, [g1, g2])[1], u, atol=1e-10)
        flipped = updates(Shampoo([(7, 4)], exponent=exponent, **hp), [g1.T, g2.T])[1]
        np.testing.assert_allclose(flipped, u.T, atol=1e-10)
    both = Shampoo([(4, 7)], **(hp | {"max_dim": 7, "eps": 1e-3}))
    quarter = Shampoo([(4, 7)], exponent=0.25, **(hp | {"max_dim": 7, "eps": 1e-3}))
    assert_all_close(updates(both, [g1, g2]), updates(quarter, [g1, g2]))


def test_one_sided_shampoo_is_asgo():
    grads = [normal((4, 7), k) for k in range(4)]
    hp: dict[str, Any] = {"beta2": 0.8, "refresh_every": 2, **NO_DECAY}
    shampoo = Shampoo([(4, 7)], max_dim=6, graft="none", nesterov=False, **hp)
    for u, v in zip(
        updates(shampoo, grads), updates(ASGO([(4, 7)], side="left", **hp), grads), strict=True
    ):
        np.testing.assert_allclose(direction(u), direction(v), atol=1e-10)


def test_max_dim_looks_at_blocks():
    grads = [normal((4, 7), k) for k in range(2)]
    hp: dict[str, Any] = {"block_size": 4, "refresh_every": 1, "graft": "none", **NO_DECAY}
    for cls in (Shampoo, CASPR, KLShampoo):
        whole = updates(cls([(4, 7)], **hp), grads)
        assert_all_close(updates(cls([(4, 7)], max_dim=5, **hp), grads), whole)


@pytest.mark.parametrize("mode", ["relative_max", "relative_mean", "absolute", "outside"])
@pytest.mark.parametrize("exponent", [0.25, 0.5])
def test_inverse_root_modes(mode, exponent):
    q, w = orthogonal(4), np.array([5.0, 2.0, 0.8, 0.2])
    values = {
        "relative_max": (w + 0.05) ** -exponent,
        "relative_mean": (w + 0.02) ** -exponent,
        "absolute": (w + 0.01) ** -exponent,
        "outside": 1 / (w**exponent + 0.01),
    }[mode]
    root = inverse_root(q @ np.diag(w) @ q.T, exponent, 0.01, mode)
    np.testing.assert_allclose(root, q @ np.diag(values) @ q.T, atol=1e-13)


@pytest.mark.parametrize("mode", ["relative_max", "relative_mean"])
def test_relative_ridges_of_a_singular_matrix(mode):
    q, w = orthogonal(4), np.array([5.0, 3.0, 0.0, 0.0])
    ridge = 0.05 if mode == "relative_max" else 0.02
    root = inverse_root(q @ np.diag(w) @ q.T, 0.5, 0.01, mode)
    np.testing.assert_allclose(root, q @ np.diag((w + ridge) ** -0.5) @ q.T, atol=1e-12)


def test_inverse_root_of_zero():
    zero = np.zeros((3, 3))
    for mode in ("relative_max", "relative_mean"):
        np.testing.assert_array_equal(inverse_root(zero, 0.5, 1e-6, mode), np.eye(3))
    np.testing.assert_allclose(inverse_root(zero, 0.5, 1e-6, "absolute"), 1e3 * np.eye(3))
    np.testing.assert_allclose(inverse_root(zero, 0.5, 1e-6, "outside"), 1e6 * np.eye(3))
    with pytest.raises(ValueError, match="eps_mode"):
        inverse_root(np.eye(3), 0.5, 1e-6, "inside")


def test_sides_and_lengths():
    assert [right_is_small(s) for s in ((2, 3), (3, 2), (3, 3))] == [False, True, True]
    assert [right_is_small((2, 3), side) for side in ("left", "right")] == [False, True]
    np.testing.assert_allclose(scaled_to(np.array([[3.0, 4.0]]), 10.0), [[6.0, 8.0]])
    np.testing.assert_array_equal(scaled_to(np.zeros((2, 2)), 10.0), np.zeros((2, 2)))
    assert math.isclose(np.linalg.norm(scaled_to(normal((3, 3)), 0.7)), 0.7)
