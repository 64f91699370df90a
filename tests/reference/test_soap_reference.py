"""SOAP, by closed forms and identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from reference import soap
from reference.checks import NO_DECAY, assert_all_close, normal, orthogonal, trajectory, updates
from reference.optimizers import AdamW, NAdamW
from reference.soap import SOAP, SoapRule, eigenbasis, power_step


def stream(shape, steps=5):
    return [normal(shape, 20 + k) for k in range(steps)]


def rule_of(ref):
    return ref.rules[0].blocks[0][2]


def adam_of_rotated(grads, left, right, hp):
    """Updates of Adam on left^T G right, rotated back."""
    ref = AdamW([grads[0].shape], beta1=hp["beta1"], beta2=hp["beta2"], eps=hp["eps"], **NO_DECAY)
    rotated = updates(ref, [left.T @ g @ right for g in grads])
    return [left @ u @ right.T for u in rotated]


HP: dict[str, Any] = {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3}


# ---------------------------------------- one refresh period


def test_the_first_step_changes_nothing():
    w, g = normal((4, 4), 1), normal((4, 4), 2)
    ref = SOAP([(4, 4)], lr=0.1, weight_decay=0.3)
    (w1,) = ref.step([w], [g])
    np.testing.assert_array_equal(w1, w)
    (w2,) = ref.step([w1], [g])
    assert np.abs(w2 - w1).max() > 1e-3


def test_second_step_in_the_bases_of_the_first_gradient():
    g1, g2, w = normal((5, 5), 1), normal((5, 5), 2), normal((5, 5), 3)
    ref = SOAP([(5, 5)], lr=0.1, weight_decay=0.3, eps=1e-3)
    (w1,) = ref.step([w], [g1])
    (w2,) = ref.step([w1], [g2])
    left, _, right_t = scipy.linalg.svd(g1)  # eigenvectors of G G^T and G^T G, descending
    rotated = left.T @ g2 @ right_t.T
    u = left @ (rotated / (np.abs(rotated) + 1e-3)) @ right_t
    np.testing.assert_allclose(w2, w - 0.1 * (u + 0.3 * w), rtol=1e-10, atol=1e-12)


def test_within_a_period_it_is_adam_in_the_first_bases():
    grads = stream((5, 5), 8)
    left, _, right_t = scipy.linalg.svd(grads[0])
    expected = adam_of_rotated(grads[1:], left, right_t.T, HP)
    got = updates(SOAP([(5, 5)], refresh_every=10, **HP, **NO_DECAY), grads)
    np.testing.assert_array_equal(got[0], np.zeros((5, 5)))
    assert_all_close(got[1:], expected, 1e-9)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5)])
def test_without_sides_it_is_adam_one_step_later(shape):
    hp: dict[str, Any] = HP | {"max_dim": 0, "shampoo_beta": 0.9, "sides": "both"}
    rule = SoapRule(shape, 0.0, hp | {"nesterov": False})
    grads = stream(shape, 8)
    got = [rule.update(g, np.zeros(shape), k, True) for k, g in enumerate(grads, start=1)]
    expected = updates(AdamW([shape], **HP, **NO_DECAY), grads[1:])
    assert_all_close(got, [np.zeros(shape), *expected], 1e-12)


def test_nesterov_is_nadam_in_the_first_bases():
    grads = stream((5, 5), 4)
    left, _, right_t = scipy.linalg.svd(grads[0])
    ref = NAdamW([(5, 5)], **HP, **NO_DECAY)
    rotated = updates(ref, [left.T @ g @ right_t.T for g in grads[1:]])
    got = updates(SOAP([(5, 5)], nesterov=True, **HP, **NO_DECAY), grads)
    assert_all_close(got[1:], [left @ u @ right_t for u in rotated], 1e-9)


# ---------------------------------------- through a refresh


@pytest.mark.parametrize("shampoo_beta", [None, 0.5])
def test_four_steps_with_a_refresh(shampoo_beta):
    n, eps, beta1, beta2 = 5, HP["eps"], HP["beta1"], HP["beta2"]
    b = beta2 if shampoo_beta is None else shampoo_beta
    g = stream((n, n), 4)
    ref = SOAP([(n, n)], refresh_every=2, shampoo_beta=shampoo_beta, **HP, **NO_DECAY)
    got = updates(ref, g)

    left, _, right_t = scipy.linalg.svd(g[0])
    right = right_t.T
    a, c = left.T @ g[1] @ right, left.T @ g[2] @ right
    m = (1 - beta1) * (beta1 * a + c)
    v = (1 - beta2) * (beta2 * a**2 + c**2)
    u = (m / (1 - beta1**2)) / (np.sqrt(v / (1 - beta2**2)) + eps)
    np.testing.assert_allclose(got[2], left @ u @ right.T, atol=1e-10)

    # The refresh of step 3: sort, one power step, then the fourth gradient in the new bases.
    weights = [b**2 * (1 - b), b * (1 - b), 1 - b]
    stats = [
        sum(w * x @ x.T for w, x in zip(weights, g[:3], strict=True)),
        sum(w * x.T @ x for w, x in zip(weights, g[:3], strict=True)),
    ]
    bases = []
    for stat, old in zip(stats, (left, right), strict=True):
        quotients = [old[:, j] @ stat @ old[:, j] for j in range(n)]
        order = sorted(range(n), key=lambda j: -quotients[j])
        if old is left:
            v = v[order, :]
        else:
            v = v[:, order]
        bases.append(scipy.linalg.qr(stat @ old[:, order])[0])
    new_left, new_right = bases
    m_original = left @ m @ right.T
    d = new_left.T @ g[3] @ new_right
    m = beta1 * (new_left.T @ m_original @ new_right) + (1 - beta1) * d
    v = beta2 * v + (1 - beta2) * d**2
    u = (m / (1 - beta1**3)) / (np.sqrt(v / (1 - beta2**3)) + eps)
    np.testing.assert_allclose(got[3], new_left @ u @ new_right.T, atol=1e-10)


def test_the_permutation_in_the_example_is_not_trivial():
    """Otherwise the sorting of V would go untested above."""
    ref, w = SOAP([(5, 5)], refresh_every=2, **HP, **NO_DECAY), np.zeros((5, 5))
    for g in stream((5, 5), 2):
        (w,) = ref.step([w], [g])
    rule, g3 = rule_of(ref), stream((5, 5), 3)[2]
    for stat, q, gram in ((rule.l, rule.q_l, g3 @ g3.T), (rule.r, rule.q_r, g3.T @ g3)):
        order = power_step(0.9 * stat + 0.1 * gram, q)[1]
        assert list(order) != list(range(5))


def test_power_step():
    a = normal((5, 5))
    a = a @ a.T
    q, order = power_step(a, eigenbasis(a)[:, [3, 0, 4, 1, 2]])
    np.testing.assert_array_equal(order, [1, 3, 4, 0, 2])
    w = np.diag(q.T @ a @ q)  # eigenvectors are a fixed point
    np.testing.assert_allclose(w, np.linalg.eigvalsh(a)[::-1], rtol=1e-12)
    q = orthogonal(5, 3)
    for _ in range(300):
        q, _ = power_step(a, q)
    np.testing.assert_allclose(q.T @ a @ q, np.diag(w), atol=1e-10)
    np.testing.assert_allclose(q.T @ q, np.eye(5), atol=1e-13)
    ties = power_step(np.eye(4), np.eye(4))[1]
    np.testing.assert_array_equal(ties, range(4))


def test_signs_of_the_eigenvectors_do_not_matter(monkeypatch):
    grads = stream((5, 5), 8)
    plain = updates(SOAP([(5, 5)], refresh_every=3, **HP, **NO_DECAY), grads)
    original = soap.eigenbasis
    signs = np.array([1, -1, -1, 1, -1])
    monkeypatch.setattr(soap, "eigenbasis", lambda a: original(a) * signs)
    assert_all_close(updates(SOAP([(5, 5)], refresh_every=3, **HP, **NO_DECAY), grads), plain, 1e-9)


def test_refresh_steps():
    ref, w, seen = SOAP([(5, 5)], refresh_every=3), normal((5, 5)), []
    rule = rule_of(ref)
    for step in range(1, 9):
        old = rule.q_l, rule.q_r
        (w,) = ref.step([w], [normal((5, 5), step)])
        changed = [not np.array_equal(old[0], rule.q_l), not np.array_equal(old[1], rule.q_r)]
        assert changed[0] == changed[1]
        if changed[0]:
            seen.append(step)
    assert seen == [1, 4, 7]


def test_late_start():
    grads = stream((5, 5), 6)
    ref = SOAP([(5, 5)], start_step=4, refresh_every=2, **HP, **NO_DECAY)
    got = updates(ref, grads)
    expected = updates(AdamW([(5, 5)], **HP, **NO_DECAY), grads[1:])
    assert_all_close(got[1:4], expected[:3], 1e-12)  # the bases are one step stale
    assert np.abs(got[4] - expected[3]).max() > 1e-3
    left, right = (
        sum(0.9 ** (3 - k) * 0.1 * gram for k, gram in enumerate(grams))
        for grams in ([g @ g.T for g in grads[:4]], [g.T @ g for g in grads[:4]])
    )
    ref, w = SOAP([(5, 5)], start_step=4, **HP), np.zeros((5, 5))
    for g in grads[:4]:
        (w,) = ref.step([w], [g])
    for stat, q in ((left, rule_of(ref).q_l), (right, rule_of(ref).q_r)):
        np.testing.assert_allclose(
            q.T @ stat @ q, np.diag(np.linalg.eigvalsh(stat)[::-1]), atol=1e-12
        )


# ---------------------------------------- sides, blocks, roles


@pytest.mark.parametrize(
    ("shape", "options", "rotated"),
    [
        ((4, 7), {"sides": "small"}, (True, False)),
        ((7, 4), {"sides": "small"}, (False, True)),
        ((5, 5), {"sides": "small"}, (False, True)),  # ties: the right side
        ((4, 7), {"max_dim": 5}, (True, False)),
        ((7, 4), {"max_dim": 5}, (False, True)),
        ((4, 7), {}, (True, True)),
    ],
)
def test_sides(shape, options, rotated):
    ref, w = SOAP([shape], refresh_every=2, **options, **HP, **NO_DECAY), normal(shape)
    grads = stream(shape, 4)
    for g in grads:
        (w,) = ref.step([w], [g])
    rule = rule_of(ref)
    assert (not np.array_equal(rule.q_l, np.eye(shape[0]))) == rotated[0]
    assert (not np.array_equal(rule.q_r, np.eye(shape[1]))) == rotated[1]
    if sum(rotated) == 1:
        left, _, right_t = scipy.linalg.svd(grads[0], full_matrices=False)
        bases = (left, np.eye(shape[1])) if rotated[0] else (np.eye(shape[0]), right_t.T)
        expected = adam_of_rotated(grads[1:], *bases, HP)
        got = updates(SOAP([shape], **options, **HP, **NO_DECAY), grads)
        assert_all_close(got[1:], expected, 1e-9)


def test_blocks_are_independent_problems():
    shape, grads = (6, 9), stream((6, 9), 6)
    hp: dict[str, Any] = {"refresh_every": 2, **HP, **NO_DECAY}
    got = updates(SOAP([shape], block_size=3, **hp), grads)
    for i in (0, 3):
        for j in (0, 3, 6):
            cut = slice(i, i + 3), slice(j, j + 3)
            part = updates(SOAP([(3, 3)], **hp), [g[cut] for g in grads])
            assert_all_close([u[cut] for u in got], part)


def test_fallback():
    shapes: list[tuple[int, ...]] = [(5,), (), (1, 6), (6, 5), (6, 5), (8, 9), (6, 5)]
    roles = ["matrix", "matrix", "matrix", "embedding", "vector", "matrix", "head"]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    got = trajectory(SOAP(shapes, roles, max_dim=7, **hp), shapes)
    decayed = trajectory(NAdamW(shapes, **hp), shapes)
    bare = trajectory(NAdamW(shapes, lr=0.1, weight_decay=0.0), shapes)
    assert_all_close(got[:2], bare[:2])
    assert_all_close(got[2:6], decayed[2:6])
    assert not np.allclose(got[6], decayed[6])


def test_wrong_argument():
    with pytest.raises(ValueError, match="sides"):
        SOAP([(2, 2)], sides="left")


# ---------------------------------------- invariances


def test_orthogonal_equivariance_transpose_scale_and_sign():
    grads, a, b = stream((5, 5), 8), orthogonal(5, 1), orthogonal(5, 2)
    hp: dict[str, Any] = {"refresh_every": 3, "eps": 0.0, **NO_DECAY}
    plain = updates(SOAP([(5, 5)], **hp), grads)
    for change, back in (
        (lambda g: a @ g @ b.T, lambda u: a.T @ u @ b),
        (lambda g: g.T, lambda u: u.T),
        (lambda g: 1e3 * g, lambda u: u),
        (lambda g: -g, lambda u: -u),
    ):
        changed = updates(SOAP([(5, 5)], **hp), [change(g) for g in grads])
        assert_all_close([back(u) for u in changed], plain, 1e-8)


def test_one_sided_equivariance():
    grads, a = stream((4, 7), 8), orthogonal(4, 1)
    hp: dict[str, Any] = {"refresh_every": 3, "sides": "small", **HP, **NO_DECAY}
    plain = updates(SOAP([(4, 7)], **hp), grads)
    turned = updates(SOAP([(4, 7)], **hp), [a @ g for g in grads])
    assert_all_close([a.T @ u for u in turned], plain, 1e-8)


# ---------------------------------------- zero and bad gradients


def test_a_zero_first_gradient_delays_eigh():
    g = stream((5, 5), 3)
    ref = SOAP([(5, 5)], refresh_every=3, **HP, **NO_DECAY)
    rule = rule_of(ref)
    np.testing.assert_array_equal(updates(ref, [np.zeros((5, 5))])[0], np.zeros((5, 5)))
    np.testing.assert_array_equal(rule.q_l, np.eye(5))
    np.testing.assert_array_equal(rule.q_r, np.eye(5))
    (u,) = updates(ref, g[:1])  # step 2, in the identity still; then eigh
    np.testing.assert_allclose(u, g[0] / (np.abs(g[0]) + 1e-3), rtol=1e-12)
    left, _, right_t = scipy.linalg.svd(g[0])
    for q, vectors in ((rule.q_l, left), (rule.q_r, right_t.T)):
        np.testing.assert_allclose(np.abs(q.T @ vectors), np.eye(5), atol=1e-12)
    q_l, v = rule.q_l, rule.v
    updates(ref, g[1:2])
    np.testing.assert_array_equal(rule.q_l, q_l)
    np.testing.assert_allclose(rule.v, 0.9 * v + 0.1 * (q_l.T @ g[1] @ rule.q_r) ** 2, atol=1e-13)
    updates(ref, g[2:])  # step 4 is on the schedule: a power step
    np.testing.assert_allclose(rule.q_l, power_step(rule.l, q_l)[0], atol=1e-12)
    assert np.abs(np.abs(eigenbasis(rule.l).T @ rule.q_l) - np.eye(5)).max() > 1e-2


def test_zero_gradients_only_decay():
    w = normal((5, 5))
    ref = SOAP([(5, 5)], lr=0.1, weight_decay=0.2, refresh_every=2)
    got = w
    for expected in (w, 0.98 * w, 0.98**2 * w, 0.98**3 * w):
        (got,) = ref.step([got], [np.zeros((5, 5))])
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_the_first_step_is_the_first_finite_one():
    w, g = normal((5, 5)), stream((5, 5), 2)
    ref = SOAP([(5, 5)], refresh_every=3, lr=0.1, weight_decay=0.3)
    for grad in (np.full((5, 5), np.nan), g[0]):
        (new,) = ref.step([w], [grad])
        np.testing.assert_array_equal(new, w)
    (new,) = ref.step([w], [g[1]])
    fresh = SOAP([(5, 5)], lr=0.1, weight_decay=0.3)
    (same,) = fresh.step([w], [g[0]])
    (expected,) = fresh.step([same], [g[1]])
    np.testing.assert_allclose(new, expected, rtol=1e-12)
