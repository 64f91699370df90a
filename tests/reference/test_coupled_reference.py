"""CASPR Adaptive and KL-Shampoo, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.checks import (
    NO_DECAY,
    direction,
    nadam,
    normal,
    polar,
    power,
    updates,
)
from reference.two_sided import (
    CASPRAdaptive,
    CasprAdaptiveBlock,
    KLShampoo,
    KLShampooBlock,
)

# ---------------------------------------- CASPR Adaptive


def test_caspr_adaptive_block_in_numbers():
    hp = {"beta2": 0.5, "eps": 0.0, "eps_mode": "relative_max", "max_dim": 8}
    block = CasprAdaptiveBlock((1, 1), hp)
    block.accumulate(np.array([[2.0]]))  # P_L = 1
    assert block.l[0, 0] == pytest.approx(2.0000005, rel=1e-14)  # (1e-6 + 4) / 2
    assert block.r[0, 0] == pytest.approx(2.5, rel=1e-14)  # (1 + 4) / 2
    block.refresh(1)
    assert block.precondition(np.array([[1.0]]))[0, 0] == pytest.approx((2.0000005 * 2.5) ** -0.5)
    block.accumulate(np.array([[1.0]]))  # c = 1e-6 / 2.0000005
    assert block.l[0, 0] == pytest.approx(1.50000025, rel=1e-14)
    r2 = 0.5 * (1e-6 / 2.0000005) * 2.5 + 0.5 / 2.0000005
    assert block.r[0, 0] == pytest.approx(r2, rel=1e-14)
    block.accumulate(np.array([[1.0]]))  # no refresh: c = 1
    assert block.r[0, 0] == pytest.approx(0.5 * r2 + 0.5 / 2.0000005, rel=1e-14)
    l3 = block.l[0, 0]
    block.refresh(3)
    r3 = block.r[0, 0]
    block.accumulate(np.array([[3.0]]))  # c = L of the refresh before / L of the last refresh
    assert block.r[0, 0] == pytest.approx(0.5 * (2.0000005 / l3) * r3 + 0.5 * 9 / l3, rel=1e-14)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_caspr_adaptive_four_steps(shape):
    m, n = shape
    b, eps = 0.6, 1e-3
    g = [normal(shape, k) for k in range(4)]
    ref = CASPRAdaptive([shape], beta1=0.0, beta2=b, eps=eps, refresh_every=2, **NO_DECAY)

    def root(a):
        return power(a + eps * np.linalg.eigvalsh(a)[-1] * np.eye(len(a)), -1 / 2)

    l1 = b * 1e-6 * np.eye(m) + (1 - b) * g[0] @ g[0].T
    r1 = b * np.eye(n) + (1 - b) * g[0].T @ g[0] / m
    pl, pr = root(l1), root(r1)  # step 1 refreshes
    l2 = b * l1 + (1 - b) * g[1] @ g[1].T
    c = np.trace(pl @ (1e-6 * np.eye(m)) @ pl) / m
    r2 = b * c * r1 + (1 - b) * (pl @ g[1]).T @ (pl @ g[1]) / m
    l3 = b * l2 + (1 - b) * g[2] @ g[2].T
    r3 = b * r2 + (1 - b) * (pl @ g[2]).T @ (pl @ g[2]) / m
    pl3, pr3 = root(l3), root(r3)  # step 3 refreshes
    l4 = b * l3 + (1 - b) * g[3] @ g[3].T
    c = np.trace(pl3 @ l1 @ pl3) / m
    r4 = b * c * r3 + (1 - b) * (pl3 @ g[3]).T @ (pl3 @ g[3]) / m
    expected = [pl @ g[0] @ pr, pl @ g[1] @ pr, pl3 @ g[2] @ pr3, pl3 @ g[3] @ pr3]
    lengths = [np.linalg.norm(u) for u in nadam(g, 0.0, b)]
    for u, e, length in zip(updates(ref, g), expected, lengths, strict=True):
        np.testing.assert_allclose(u, length * direction(e), atol=1e-9)
    block = ref.rules[0].blocks[0][1]
    np.testing.assert_allclose(block.l, l4, rtol=1e-12)
    np.testing.assert_allclose(block.r, r4, atol=1e-8)


def test_caspr_adaptive_of_a_constant_gradient_tends_to_polar():
    g = normal((5, 5), 3)
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 0.5, "eps": 1e-13, "refresh_every": 3}
    u = updates(CASPRAdaptive([(5, 5)], **hp, **NO_DECAY), [g] * 80)[-1]
    np.testing.assert_allclose(direction(u), direction(polar(g)), atol=1e-8)


def test_caspr_adaptive_with_one_side():
    b, eps, shape = 0.6, 1e-3, (4, 7)
    g1, g2 = normal(shape, 1), normal(shape, 2)
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": b, "eps": eps, "refresh_every": 1, "max_dim": 5}
    l2 = b**2 * 1e-6 * np.eye(4) + (1 - b) * (b * g1 @ g1.T + g2 @ g2.T)
    l2 = l2 + eps * np.linalg.eigvalsh(l2)[-1] * np.eye(4)
    u = updates(CASPRAdaptive([shape], **hp, **NO_DECAY), [g1, g2])[1]
    np.testing.assert_allclose(direction(u), direction(power(l2, -1 / 2) @ g2), atol=1e-10)
    r2 = b**2 * np.eye(4) + (1 - b) * (b * g1 @ g1.T + g2 @ g2.T) / 7  # c = 1, P_L = I
    r2 = r2 + eps * np.linalg.eigvalsh(r2)[-1] * np.eye(4)
    u = updates(CASPRAdaptive([(7, 4)], **hp, **NO_DECAY), [g1.T, g2.T])[1]
    np.testing.assert_allclose(direction(u), direction(g2.T @ power(r2, -1 / 2)), atol=1e-10)


# ---------------------------------------- KL-Shampoo


def test_kl_shampoo_block_in_numbers():
    hp = {"beta2": 0.5, "eps": 0.0, "eps_mode": "relative_max", "max_dim": 8}
    block = KLShampooBlock((1, 2), hp)
    g = np.array([[3.0, 4.0]])
    block.accumulate(g)
    assert block.l[0, 0] == pytest.approx(6.25)  # 25 / n / 2
    np.testing.assert_allclose(block.r, [[4.5, 6.0], [6.0, 8.0]])  # g^T g / m / 2
    block.root_l, block.root_r = np.array([[2.0]]), np.diag([1.0, 0.5])
    block.accumulate(g)
    assert block.l[0, 0] == pytest.approx(6.25 / 2 + (9 + 4) / 2 / 2)
    np.testing.assert_allclose(block.r, np.array([[20.25, 27.0], [27.0, 36.0]]))


def test_kl_shampoo_three_steps():
    shape, b, eps = (4, 6), 0.6, 1e-3
    g = [normal(shape, k) for k in range(3)]
    ref = KLShampoo([shape], beta1=0.7, beta2=b, eps=eps, graft="none", refresh_every=2, **NO_DECAY)

    def root(a, t):
        a = a / (1 - b**t)
        return power(a + eps * np.linalg.eigvalsh(a)[-1] * np.eye(len(a)), -1 / 2)

    l1, r1 = (1 - b) * g[0] @ g[0].T / 6, (1 - b) * g[0].T @ g[0] / 4
    pl, pr = root(l1, 1), root(r1, 1)
    l2 = b * l1 + (1 - b) * g[1] @ pr @ pr @ g[1].T / 6
    r2 = b * r1 + (1 - b) * g[1].T @ pl @ pl @ g[1] / 4
    l3 = b * l2 + (1 - b) * g[2] @ pr @ pr @ g[2].T / 6
    r3 = b * r2 + (1 - b) * g[2].T @ pl @ pl @ g[2] / 4
    m, expected = np.zeros(shape), []
    for t, (p, q) in enumerate([(pl, pr), (pl, pr), (root(l3, 3), root(r3, 3))], start=1):
        m = 0.7 * m + 0.3 * g[t - 1]
        expected.append(p @ (0.7 * m + 0.3 * g[t - 1]) @ q / (1 - 0.7**t))
    for u, e in zip(updates(ref, g), expected, strict=True):
        np.testing.assert_allclose(u, e, rtol=1e-8, atol=1e-8)


def test_kl_shampoo_of_a_constant_gradient_tends_to_polar():
    g = normal((5, 5), 3)
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 0.5, "eps": 1e-14, "refresh_every": 1}
    u = updates(KLShampoo([(5, 5)], graft="none", **hp, **NO_DECAY), [g] * 80)[-1]
    np.testing.assert_allclose(u, np.sqrt(5) * polar(g), atol=1e-8)  # s = |G singular| / sqrt(n)


def test_kl_shampoo_with_one_side():
    g1, g2 = normal((4, 7), 1), normal((4, 7), 2)
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 1.0, "eps": 1e-15, "graft": "none"}
    hp |= {"max_dim": 6, "refresh_every": 1, **NO_DECAY}
    expected = np.sqrt(7) * power(g1 @ g1.T + g2 @ g2.T, -1 / 2) @ g2
    got = updates(KLShampoo([(4, 7)], **hp), [g1, g2])[1]
    np.testing.assert_allclose(got, expected, atol=1e-10)
    flipped = updates(KLShampoo([(7, 4)], **hp), [g1.T, g2.T])[1]
    np.testing.assert_allclose(flipped, expected.T, atol=1e-10)
