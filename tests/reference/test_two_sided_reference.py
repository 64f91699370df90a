"""CASPR by identities and closed forms; what it shares with CASPR Adaptive and KL-Shampoo."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from reference.checks import (
    NO_DECAY,
    assert_all_close,
    direction,
    nadam,
    normal,
    orthogonal,
    polar,
    power,
    trajectory,
    updates,
)
from reference.optimizers import NAdamW, Shampoo
from reference.two_sided import (
    CASPR,
    CASPRAdaptive,
    CasprBlock,
    KLShampoo,
)

MATRIX_SHAPES = [(4, 7), (7, 4), (5, 5)]
EVERY = [CASPR, CASPRAdaptive, KLShampoo]


def operator(block):
    """The matrix of block.precondition on column-major vectors."""
    columns = []
    for j in range(block.n):
        for i in range(block.m):
            unit = np.zeros((block.m, block.n))
            unit[i, j] = 1
            columns.append(block.precondition(unit).ravel(order="F"))
    return np.array(columns).T


# ---------------------------------------- CASPR: no accumulation


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
@pytest.mark.parametrize("p", [1, 2, 4])
def test_caspr_without_memory_is_polar(shape, p):
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 0.0, "eps": 1e-14, "refresh_every": 1}
    grads = [normal(shape, s) for s in range(3)]
    for g, u in zip(
        grads, updates(CASPR([shape], p=p, graft="none", **hp, **NO_DECAY), grads), strict=True
    ):
        np.testing.assert_allclose(u, polar(g), atol=1e-8)


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_caspr_damping_is_inside_the_root(shape, p):
    g, damping = normal(shape, 2), 0.3
    ref = CASPR([shape], p=p, graft="none", eps=damping, eps_mode="absolute", **NO_DECAY)
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    (got,) = updates(ref, [g])
    factor = 0.9 * 0.1 / 0.1 + 1  # NAdam's mixing in step 1
    np.testing.assert_allclose(got, factor * (u * (s / np.sqrt(s**2 + damping))) @ vt, atol=1e-12)


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
@pytest.mark.parametrize("refresh_every", [1, 3])
def test_caspr_of_a_constant_gradient(shape, refresh_every):
    g = normal(shape, 4)
    hp: dict[str, Any] = {"eps": 1e-13, "refresh_every": refresh_every, **NO_DECAY}
    for t, u in enumerate(updates(CASPR([shape], graft="none", **hp), [g] * 5), start=1):
        factor = (0.9 * (1 - 0.9**t) + 0.1) / (1 - 0.9**t)
        np.testing.assert_allclose(u, factor * polar(g), atol=1e-8)
    for t, u in enumerate(updates(CASPR([shape], **hp), [g] * 5), start=1):
        factor = (0.9 * (1 - 0.9**t) + 0.1) / (1 - 0.9**t)
        expected = factor * np.sqrt(g.size) * direction(polar(g))  # the length of factor * sign(G)
        np.testing.assert_allclose(u, expected, atol=1e-6)


# ---------------------------------------- CASPR: closed forms


@pytest.mark.parametrize("beta2", [0.6, 1.0])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_caspr_second_step_is_a_power_of_a_kronecker_sum(p, beta2):
    shape, eps = (4, 6), 1e-3
    g1, g2 = normal(shape, 7), normal(shape, 8)
    ref = CASPR([shape], p=p, beta1=0.7, beta2=beta2, eps=eps, graft="none", refresh_every=1,
                **NO_DECAY)  # fmt: skip
    a, b = (1.0, 1.0) if beta2 == 1 else (0.4 * 0.6 / (1 - 0.36), 0.4 / (1 - 0.36))
    left, right = a * g1 @ g1.T + b * g2 @ g2.T, a * g1.T @ g1 + b * g2.T @ g2
    left = left + eps * np.trace(left) / 4 * np.eye(4)
    right = right + eps * np.trace(right) / 6 * np.eye(6)
    m = 0.3 * (0.7 * g1 + g2)
    m_hat = (0.7 * m + 0.3 * g2) / (1 - 0.49)
    kronecker_sum = np.kron(np.eye(6), power(left, -1 / (2 * p)))
    kronecker_sum = (kronecker_sum + np.kron(power(right, -1 / (2 * p)), np.eye(4))) / 2
    expected = np.linalg.matrix_power(kronecker_sum, p) @ m_hat.ravel(order="F")
    got = updates(ref, [g1, g2])[1]
    np.testing.assert_allclose(got.ravel(order="F"), expected, atol=1e-10)


def test_caspr_of_order_two_written_out():
    g1, g2 = normal((5, 5), 1), normal((5, 5), 2)
    ref = CASPR([(5, 5)], beta1=0.0, beta2=1.0, eps=1e-15, graft="none", refresh_every=1,
                **NO_DECAY)  # fmt: skip
    left, right = g1 @ g1.T + g2 @ g2.T, g1.T @ g1 + g2.T @ g2
    ends = power(left, -1 / 2) @ g2 + g2 @ power(right, -1 / 2)
    middle = power(left, -1 / 4) @ g2 @ power(right, -1 / 4)
    np.testing.assert_allclose(updates(ref, [g1, g2])[1], (ends + 2 * middle) / 4, atol=1e-10)


def test_caspr_tends_to_shampoo():
    shape = (4, 6)
    grads = [normal(shape, k) for k in range(3)]
    hp: dict[str, Any] = {"beta2": 0.9, "eps_mode": "relative_mean", "eps": 1e-3, "graft": "none"}
    limit = updates(Shampoo([shape], refresh_every=1, **hp, **NO_DECAY), grads)[-1]
    errors = []
    for p in (8, 64, 512):
        u = updates(CASPR([shape], p=p, refresh_every=1, **hp, **NO_DECAY), grads)[-1]
        errors.append(np.linalg.norm(u - limit) / np.linalg.norm(limit))
    assert errors[0] < 0.2
    assert errors[1] == pytest.approx(errors[0] / 8, rel=0.2)  # first order in 1/p
    assert errors[2] == pytest.approx(errors[1] / 8, rel=0.2)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_caspr_with_one_side(p):
    g1, g2 = normal((4, 7), 1), normal((4, 7), 2)
    hp: dict[str, Any] = {"p": p, "beta1": 0.0, "beta2": 1.0, "eps": 1e-15, "graft": "none"}
    hp |= {"max_dim": 6, "refresh_every": 1, **NO_DECAY}
    expected = power(g1 @ g1.T + g2 @ g2.T, -1 / 2) @ g2
    np.testing.assert_allclose(updates(CASPR([(4, 7)], **hp), [g1, g2])[1], expected, atol=1e-10)
    flipped = updates(CASPR([(7, 4)], **hp), [g1.T, g2.T])[1]
    np.testing.assert_allclose(flipped, expected.T, atol=1e-10)


# ---------------------------------------- CASPR: Loewner order, the estimator experiment


def caspr_block(left, right, p, eps=0.0):
    hp = {"p": p, "beta2": 1.0, "eps": eps, "eps_mode": "absolute", "max_dim": 100}
    block = CasprBlock((len(left), len(right)), hp)
    block.l, block.r = left, right
    block.refresh(1)
    return block


def smallest(a):
    return np.linalg.eigvalsh(a)[0]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_loewner_order(rank):
    m, n, eps = 3, 4, 0.05
    grads = [normal((m, rank), 2 * k) @ normal((rank, n), 2 * k + 1) for k in range(3)]
    left, right = sum(g @ g.T for g in grads), sum(g.T @ g for g in grads)
    vectors = [g.ravel(order="F") for g in grads]
    outer = sum(np.outer(v, v) for v in vectors)
    step = {p: operator(caspr_block(left, right, p, eps)) for p in (1, 2, 3, 8)}
    damped_l, damped_r = left + eps * np.eye(m), right + eps * np.eye(n)
    shampoo = np.kron(power(damped_r, -1 / 4), power(damped_l, -1 / 4))
    full = power(eps * np.eye(m * n) + outer / rank, -1 / 2)
    # The steps, inverses of the approximations of H^(1/2), are ordered the other way round.
    chain = [full, step[1], step[2], step[3], step[8], shampoo]
    for larger, smaller in itertools.pairwise(chain):
        assert smallest(larger - smaller) > -1e-10
        assert np.linalg.norm(larger - smaller) > 1e-3
    for one_sided in (
        np.kron(np.eye(n), power(damped_l, -1 / 2)),
        np.kron(power(damped_r, -1 / 2), np.eye(m)),
    ):
        assert smallest(full - one_sided) > -1e-10
        assert smallest(one_sided - shampoo) < -1e-3  # these two are not ordered,
        assert smallest(shampoo - one_sided) < -1e-3  # neither way
    unscaled = power(eps * np.eye(m * n) + outer, 1 / 2)
    assert smallest(np.sqrt(rank) * np.linalg.inv(step[1]) - unscaled) > -1e-10


def test_loewner_order_needs_the_rank():
    grads = [normal((3, 4), k) for k in range(3)]
    left, right = sum(g @ g.T for g in grads), sum(g.T @ g for g in grads)
    outer = sum(np.outer(g.ravel(order="F"), g.ravel(order="F")) for g in grads)
    c1 = np.linalg.inv(operator(caspr_block(left, right, 1, 1e-3)))
    assert smallest(c1 - power(1e-3 * np.eye(12) + outer, 1 / 2)) < -0.1


def test_estimators_of_a_kronecker_covariance():
    h1 = np.eye(10) + 0.5 * (np.eye(10, k=1) + np.eye(10, k=-1))
    h = np.kron(h1, h1)
    second_moment = np.trace(h1 @ h1) * h1 @ h1  # E[G G^T] = E[G^T G] for G = H1 V H1, V normal
    losses: dict[str, tuple[Any, float]] = {"identity": (np.eye(100), 10.500)}
    losses["shampoo"] = (np.kron(power(second_moment, -1 / 4), power(second_moment, -1 / 4)), 7.914)
    for p, loss in ((1, 7.478), (2, 7.693)):
        losses[f"caspr {p}"] = (operator(caspr_block(second_moment, second_moment, p)), loss)
    for name, (estimate, loss) in losses.items():
        got = np.linalg.norm(estimate @ h - np.eye(100))
        assert got == pytest.approx(loss, abs=6e-4), name
    exact = np.kron(power(second_moment, -1 / 2), power(second_moment, -1 / 2))
    exact = exact * np.sqrt(np.trace(second_moment))
    # E tr(G G^T) = tr(H1^2)^2: the correction that makes two roots of exponent 1/2 exact
    assert np.trace(second_moment) == pytest.approx(np.trace(h1 @ h1) ** 2)
    np.testing.assert_allclose(exact @ h, np.eye(100), atol=1e-9)


# ---------------------------------------- grafting


def test_caspr_and_caspr_adaptive_have_the_length_of_the_whole_tensor():
    shape, hp = (5, 7), {"beta1": 0.8, "beta2": 0.95, "refresh_every": 2, "block_size": 3}
    grads = [normal(shape, k) for k in range(5)]
    bare = updates(CASPR([shape], graft="none", **hp, **NO_DECAY), grads)
    lengths = [np.linalg.norm(u) for u in nadam(grads, 0.8, 0.95)]
    for u, b, length in zip(
        updates(CASPR([shape], **hp, **NO_DECAY), grads), bare, lengths, strict=True
    ):
        np.testing.assert_allclose(u, length * direction(b), atol=1e-11)
    for u, length in zip(
        updates(CASPRAdaptive([shape], **hp, **NO_DECAY), grads), lengths, strict=True
    ):
        assert np.linalg.norm(u) == pytest.approx(length, rel=1e-12)
    momenta, m = [], np.zeros(shape)
    for t, g in enumerate(grads, start=1):
        m = 0.8 * m + 0.2 * g
        momenta.append((0.8 * m + 0.2 * g) / (1 - 0.8**t))
    got = updates(CASPR([shape], graft="sgd", **hp, **NO_DECAY), grads)
    for u, b, m_hat in zip(got, bare, momenta, strict=True):
        np.testing.assert_allclose(u, np.linalg.norm(m_hat) * direction(b), atol=1e-11)


def test_kl_shampoo_has_the_length_block_by_block():
    shape, hp = (5, 7), {"beta1": 0.8, "beta2": 0.95, "refresh_every": 2, "block_size": 3}
    grads = [normal(shape, k) for k in range(5)]
    bare = updates(KLShampoo([shape], graft="none", **hp, **NO_DECAY), grads)
    got = updates(KLShampoo([shape], **hp, **NO_DECAY), grads)
    for u, b, reference in zip(got, bare, nadam(grads, 0.8, 0.95), strict=True):
        for rows in (slice(0, 3), slice(3, 5)):
            for cols in (slice(0, 3), slice(3, 6), slice(6, 7)):
                length = np.linalg.norm(reference[rows, cols])
                expected = length * direction(b[rows, cols])
                np.testing.assert_allclose(u[rows, cols], expected, atol=1e-11)


@pytest.mark.parametrize("cls", EVERY)
def test_before_the_first_refresh_it_is_nadamw(cls):
    shapes: list[tuple[int, ...]] = [(4, 7), (3, 4, 2, 2)]
    hp: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, "lr": 0.1, "weight_decay": 0.1}
    expected = trajectory(NAdamW(shapes, **hp), shapes)
    assert_all_close(trajectory(cls(shapes, start_step=7, block_size=3, **hp), shapes), expected)
    started = trajectory(cls(shapes, start_step=6, block_size=3, **hp), shapes)
    assert np.abs(started[0] - expected[0]).max() > 1e-6


@pytest.mark.parametrize("cls", [CASPR, KLShampoo])
def test_before_the_first_refresh_without_graft_it_is_the_momentum(cls):
    g1, g2 = normal((4, 7), 1), normal((4, 7), 2)
    for graft in ("sgd", "none"):
        ref = cls([(4, 7)], beta1=0.7, graft=graft, start_step=3, **NO_DECAY)
        expected = (0.7 * 0.3 * (0.7 * g1 + g2) + 0.3 * g2) / (1 - 0.49)
        np.testing.assert_allclose(updates(ref, [g1, g2])[1], expected, rtol=1e-12)


@pytest.mark.parametrize("cls", EVERY)
def test_a_bad_gradient_postpones_the_first_refresh(cls):
    hp: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, **NO_DECAY}
    grads = [normal((4, 6), k) for k in range(2)]
    late = updates(cls([(4, 6)], refresh_every=2, **hp), [np.full((4, 6), np.inf), *grads])
    np.testing.assert_array_equal(late[0], np.zeros((4, 6)))
    # step 2 makes up for step 1, step 3 is on the schedule
    assert_all_close(late[1:], updates(cls([(4, 6)], refresh_every=1, **hp), grads), 1e-12)
    assert np.abs(late[1] - nadam(grads, 0.8, 0.95)[0]).max() > 1e-3


@pytest.mark.parametrize("cls", EVERY)
def test_a_zero_gradient_postpones_the_first_refresh(cls):
    hp: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, "refresh_every": 5, **NO_DECAY}
    g1, g2, zero = normal((4, 6), 1), normal((4, 6), 2), np.zeros((4, 6))
    got = updates(cls([(4, 6)], start_step=2, **hp), [g1, zero, g2, g2])
    nadams = nadam([g1, zero, g2, g2], 0.8, 0.95)
    assert_all_close(got[:2], nadams[:2])  # momentum of g1 in step 2, roots in step 3
    third = updates(cls([(4, 6)], start_step=3, **hp), [g1, zero, g2, g2])
    assert_all_close(got[2:], third[2:])
    assert np.abs(got[2] - nadams[2]).max() > 1e-3


@pytest.mark.parametrize("graft", ["adam", "sgd", "none"])
def test_a_block_waits_for_its_own_first_refresh(graft):
    shape, hp = (5, 7), {"beta1": 0.8, "beta2": 0.95, "graft": graft, "eps": 1e-3}
    g1, g2 = normal(shape, 1), normal(shape, 2)
    ref = CASPR([shape], block_size=4, start_step=2, **hp, **NO_DECAY)
    rows, cols = [slice(0, 4), slice(4, 5)], [slice(0, 4), slice(4, 7)]
    g2[rows[0], cols[0]] = 0.0  # in the step of the first refresh
    u = updates(ref, [g1, g2])[1]
    own = nadam([g1, g2], 0.8, 0.95)[1]
    m = 0.2 * (0.8 * g1 + g2)
    m_hat = (0.8 * m + 0.2 * g2) / (1 - 0.8**2)
    grafted = own if graft == "adam" else m_hat
    expected = np.zeros(shape)
    for cut in itertools.product(rows, cols):
        if cut == (rows[0], cols[0]):
            expected[cut] = grafted[cut]
            continue
        one = CASPR([(2, 2)], start_step=2, **(hp | {"graft": "none"}), **NO_DECAY)
        rule = one.matrix_rule(g1[cut].shape, 0.0)
        rule.update(g1[cut], 0 * g1[cut], 1, False)
        expected[cut] = rule.update(g2[cut], 0 * g2[cut], 2, True)
    if graft != "none":
        expected = direction(expected) * np.linalg.norm(grafted)
    np.testing.assert_allclose(u, expected, atol=1e-11)
    assert [block.refreshed for _, block in ref.rules[0].blocks] == [False, True, True, True]
    again = updates(ref, [g1])  # step 3 is off the schedule
    assert np.isfinite(again[0]).all()
    assert all(block.refreshed for _, block in ref.rules[0].blocks)


# ---------------------------------------- properties of all


@pytest.mark.parametrize("cls", [CASPR, KLShampoo])
@pytest.mark.parametrize("graft", ["none", "sgd"])
def test_orthogonal_equivariance(cls, graft):
    shape = (4, 7)
    q, r = orthogonal(4, 1), orthogonal(7, 2)
    grads = [normal(shape, s) for s in range(4)]
    hp: dict[str, Any] = {"graft": graft, "refresh_every": 2, "eps": 1e-3, **NO_DECAY}
    plain = updates(cls([shape], **hp), grads)
    turned = updates(cls([shape], **hp), [q @ g @ r.T for g in grads])
    negative = updates(cls([shape], **hp), [-g for g in grads])
    for u, v, s in zip(plain, turned, negative, strict=True):
        np.testing.assert_allclose(v, q @ u @ r.T, atol=1e-10)
        np.testing.assert_allclose(s, -u, atol=1e-10)


@pytest.mark.parametrize("cls", [CASPR, KLShampoo])
def test_transpose_and_scale(cls):
    grads = [normal((4, 7), s) for s in range(4)]
    hp: dict[str, Any] = {"graft_eps": 0.0, "refresh_every": 2, "eps": 1e-3, **NO_DECAY}
    plain = updates(cls([(4, 7)], **hp), grads)
    flipped = updates(cls([(7, 4)], **hp), [g.T for g in grads])
    for u, f in zip(plain, flipped, strict=True):
        np.testing.assert_allclose(f.T, u, atol=1e-10)
    scaled = updates(cls([(4, 7)], **hp), [1e3 * g for g in grads])
    if cls is CASPR:
        assert_all_close(scaled, plain, 1e-10)
    else:  # the first statistics are of degree 2 in the gradient, the later ones of degree 0
        assert np.abs(scaled[-1] - plain[-1]).max() > 1e-3


@pytest.mark.parametrize("cls", EVERY)
def test_zero_gradient_only_decays(cls):
    shapes: list[tuple[int, ...]] = [(4, 7), (3, 4, 2, 2), (5,)]
    params = [normal(s, k) for k, s in enumerate(shapes)]
    ref = cls(shapes, lr=0.1, weight_decay=0.2, block_size=3)
    new = ref.step(params, [np.zeros(s) for s in shapes])
    for p, q in zip(params, new, strict=True):
        np.testing.assert_allclose(q, p * (0.98 if p.ndim > 1 else 1.0), rtol=1e-14)
    later = ref.step(new, [normal(s, k) for k, s in enumerate(shapes)])
    assert all(np.isfinite(x).all() for x in later)


@pytest.mark.parametrize("cls", EVERY)
def test_rank_one(cls):
    a, b = normal((5,), 1), normal((6,), 2)
    g = np.outer(a, b)
    for u in updates(cls([(5, 6)], beta1=0.0, refresh_every=1, **NO_DECAY), [g, 2 * g, 3 * g]):
        np.testing.assert_allclose(direction(u), direction(g), atol=1e-8)


@pytest.mark.parametrize("cls", EVERY)
def test_refresh_steps(cls):
    ref = cls([(4, 6)], refresh_every=3, start_step=2)
    rule = ref.rules[0].blocks[0][2] if cls is KLShampoo else ref.rules[0]
    block = rule.blocks[0][1]
    w, seen = normal((4, 6)), []
    for step in range(1, 9):
        old = block.root_l, block.root_r
        (w,) = ref.step([w], [normal((4, 6), step)])
        changed = [
            not np.array_equal(x, y) for x, y in zip(old, (block.root_l, block.root_r), strict=True)
        ]
        assert changed[0] == changed[1]
        if changed[0]:
            seen.append(step)
    assert seen == [2, 5, 8]


@pytest.mark.parametrize("cls", [*EVERY, Shampoo])
def test_fallback(cls):
    shapes: list[tuple[int, ...]] = [(5,), (), (1, 6), (6, 5), (6, 5), (8, 9), (6, 5), (6, 9)]
    roles = ["matrix", "matrix", "matrix", "embedding", "vector", "matrix", "head", "matrix"]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    got = trajectory(cls(shapes, roles, max_dim=7, **hp), shapes)
    decayed = trajectory(NAdamW(shapes, **hp), shapes)
    bare = trajectory(NAdamW(shapes, lr=0.1, weight_decay=0.0), shapes)
    assert_all_close(got[:2], bare[:2])
    assert_all_close(got[2:6], decayed[2:6])  # (8, 9): both sides are longer than max_dim
    assert not np.allclose(got[6], decayed[6])
    assert not np.allclose(got[7], decayed[7])


def test_wrong_arguments():
    for cls in (CASPR, KLShampoo):
        with pytest.raises(ValueError, match="graft"):
            cls([(2, 2)], graft="rmsprop")
    wrong: list[Any] = [0, -1, 1.5]
    for p in wrong:
        with pytest.raises(ValueError, match="p "):
            CASPR([(2, 2)], p=p)
