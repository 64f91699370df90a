"""What the references share: roots, sides, lengths, first refreshes, and Shampoo with one side."""

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
from reference.factored import AdafacDiag, AdafacDiagPlusPlus, HFacDiag
from reference.meta import MetaShampoo
from reference.one_sided import ASGOTheory
from reference.optimizers import (
    ASGO,
    Due,
    Shampoo,
    inverse_root,
    right_is_small,
    scaled_to,
    takes_right,
    turn,
)
from reference.rotated import AdaDiag, AdaDiagPlusPlus, GaLore
from reference.soap import SOAP
from reference.two_sided import CASPR, CASPRAdaptive, KLShampoo

REFRESHED = [
    ASGO, ASGOTheory, Shampoo, MetaShampoo, SOAP, CASPR, CASPRAdaptive, KLShampoo,
    AdaDiag, AdaDiagPlusPlus, GaLore, AdafacDiag, AdafacDiagPlusPlus, HFacDiag,
]  # fmt: skip


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outside_does_not_invert_rounding(dtype):
    x = normal((6, 2), 4).astype(dtype)  # rank 2 of 6
    u, s, _ = np.linalg.svd(x.astype(np.float64))
    root = inverse_root(x @ x.T, 0.5, 1e-9, "outside")
    assert root.dtype == dtype
    floor = s[0] * math.sqrt(6 * np.finfo(dtype).eps)
    assert floor < s[1] / 100  # the other eigenvalues are far above
    expected = u @ np.diag(1 / (np.array([*s, *[floor] * 4]) + 1e-9)) @ u.T
    np.testing.assert_allclose(root, expected, atol=1e-3 / floor)


def test_outside_raises_nothing_above_rounding():
    just_above, below = 4 * 2.0**-52 * 1.01, 4 * 2.0**-52 * 0.5
    root = inverse_root(np.diag([1.0, 0.1, just_above, below]), 0.5, 1e-9, "outside")
    values = np.sqrt([1.0, 0.1, just_above, 4 * 2.0**-52]) + 1e-9
    np.testing.assert_allclose(root, np.diag(1 / values), rtol=1e-12)
    negative = inverse_root(np.diag([0.0, -1e-3]), 0.5, 0.1, "outside")
    np.testing.assert_allclose(negative, 10 * np.eye(2))


# ---------------------------------------- the first refresh


def test_turn():
    class Rule:
        refreshed = False

    zero, g = np.zeros((2, 2)), np.array([[0.0, 1e-300], [0.0, 0.0]])
    rule, seen = Rule(), []
    for scheduled, started, grad in [
        (False, False, g), (True, True, zero), (False, True, zero), (False, True, g),
        (False, True, g), (True, True, zero), (True, True, g),
    ]:  # fmt: skip
        seen.append(turn(rule, grad, Due(scheduled, started)))
    assert seen == [False, False, False, True, False, True, True]
    assert [turn(Rule(), zero, due) for due in (True, False)] == [True, False]


def by_hand(make, shape, grads, refreshes, **hp):
    """Updates with the refreshes that are told; None is a step left out."""
    rule = make([shape], **hp, **NO_DECAY).rules[0]
    out = []
    for step, g in enumerate(grads, start=1):
        skipped = np.zeros(shape)
        out.append(skipped if g is None else rule.update(g, skipped, step, step in refreshes))
    return out


@pytest.mark.parametrize(
    ("start", "missing", "refreshes"),
    [
        (1, [], {1, 4, 7}),
        (1, [1], {2, 4, 7}),
        (1, [1, 2, 3, 4], {5, 7}),
        (2, [2, 3], {4, 5, 8}),
        (2, [1, 4], {2, 5, 8}),
        (3, [3, 4, 5, 6], {7}),
    ],
)
@pytest.mark.parametrize("make", REFRESHED)
def test_the_first_refresh_waits_for_a_gradient(make, start, missing, refreshes):
    shape = (5, 5)

    def optimizer():
        ref = make([shape], refresh_every=3, **NO_DECAY)
        ref.first_refresh = start  # ASGO has no argument for it
        return ref

    grads = [normal(shape, 10 + k) for k in range(8)]
    bad = [np.full(shape, np.nan) if k in missing else g for k, g in enumerate(grads, start=1)]
    absent = [None if k in missing else g for k, g in enumerate(grads, start=1)]
    got = updates(optimizer(), bad)
    assert_all_close(got, by_hand(make, shape, absent, refreshes), 1e-12)
    # a zero gradient is one for the moments, and later refreshes take place in spite of it
    zeros = [np.zeros(shape) if k in missing else g for k, g in enumerate(grads, start=1)]
    got = updates(optimizer(), zeros)
    expected = by_hand(make, shape, zeros, refreshes)
    assert_all_close(got, expected, 1e-12)
    if missing and missing[0] == start:  # and the old rule is told from the new one
        scheduled = {k for k in range(start, 9, 3) if k not in missing}
        old = by_hand(make, shape, zeros, scheduled)
        assert max(np.abs(u - v).max() for u, v in zip(old, got, strict=True)) > 1e-4


@pytest.mark.parametrize("make", [Shampoo, MetaShampoo, SOAP, KLShampoo])
def test_blocks_wait_one_by_one(make):
    shape, cuts = (6, 6), [(slice(i, i + 3), slice(j, j + 3)) for i in (0, 3) for j in (0, 3)]
    hp: dict[str, Any] = {"refresh_every": 4, "block_size": 3, "start_step": 2}
    grads = [normal(shape, k) for k in range(7)]
    grads[1][cuts[1]] = grads[1][cuts[2]] = grads[2][cuts[2]] = 0.0
    got = updates(make([shape], **hp, **NO_DECAY), grads)
    for cut, first in zip(cuts, (2, 3, 4, 2), strict=True):
        part = [g[cut] for g in grads]
        expected = by_hand(make, (3, 3), part, {first, 6}, block_size=3)
        assert_all_close([u[cut] for u in got], expected, 1e-12)


# ---------------------------------------- sides and lengths


def test_sides_and_lengths():
    assert [right_is_small(s) for s in ((2, 3), (3, 2), (3, 3))] == [False, True, True]
    assert [right_is_small((2, 3), side) for side in ("left", "right")] == [False, True]
    for side in ("small", "left", "right"):
        assert [takes_right((2, 3), side, n) for n in (2, 3)] == [False, side == "right"]
        assert [takes_right((3, 2), side, n) for n in (2, 3)] == [True, side != "left"]
    np.testing.assert_allclose(scaled_to(np.array([[3.0, 4.0]]), 10.0), [[6.0, 8.0]])
    np.testing.assert_array_equal(scaled_to(np.zeros((2, 2)), 10.0), np.zeros((2, 2)))
    assert math.isclose(np.linalg.norm(scaled_to(normal((3, 3)), 0.7)), 0.7)
