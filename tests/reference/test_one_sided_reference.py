"""Theoretical ASGO, DASGO and Muon, by closed forms, identities and torch.optim.Muon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference.checks import (
    NO_DECAY,
    assert_all_close,
    direction,
    normal,
    orthogonal,
    polar,
    power,
    trajectory,
    updates,
)
from reference.one_sided import DASGO, QUINTIC, ASGOTheory, AsgoTheoryRule, Muon, quintic_polar
from reference.optimizers import ASGO, NAdamW, Shampoo

SHAPES = [(4, 7), (7, 4), (5, 5)]


# ---------------------------------------- ASGOTheory


@pytest.mark.parametrize("side", ["small", "left", "right"])
@pytest.mark.parametrize("shape", SHAPES)
def test_asgo_theory_eps_is_outside_the_root(shape, side):
    g = normal(shape, 1)
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    (got,) = updates(ASGOTheory([shape], eps=0.3, side=side, **NO_DECAY), [g])
    np.testing.assert_allclose(got, (u * (s / (s + 0.3))) @ vt, atol=1e-10)


def test_asgo_theory_in_numbers():
    ref = ASGOTheory([(2, 2)], eps=0.5, **NO_DECAY)
    first, second = updates(ref, [np.diag([3.0, 0.0]), np.array([[4.0, 4.0], [0.0, 2.0]])])
    np.testing.assert_allclose(first, np.diag([3 / 3.5, 0.0]), atol=1e-14)
    # V = diag(9, 0) + [[32, 8], [8, 4]] = [[41, 8], [8, 4]]
    root = (np.array([[41.0, 8.0], [8.0, 4.0]]) + 10 * np.eye(2)) / np.sqrt(45 + 2 * 10)
    np.testing.assert_allclose(root @ root, [[41, 8], [8, 4]], atol=1e-13)  # det V = 100
    expected = np.linalg.inv(root + 0.5 * np.eye(2)) @ [[4.0, 4.0], [0.0, 2.0]]
    np.testing.assert_allclose(second, expected, atol=1e-13)


def test_asgo_theory_is_shampoo_with_one_side():
    grads = [normal((4, 7), k) for k in range(4)]
    theory = updates(ASGOTheory([(4, 7)], eps=0.0, **NO_DECAY), grads)
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 1.0, "eps": 1e-15, "graft": "none"}
    shampoo = Shampoo([(4, 7)], max_dim=6, refresh_every=1, **hp, **NO_DECAY)
    assert_all_close(theory, updates(shampoo, grads), 1e-10)
    practical = updates(
        ASGO([(4, 7)], beta1=0.0, beta2=1.0, eps=1e-15, side="left", refresh_every=1, **NO_DECAY),
        grads,
    )
    for u, v in zip(theory, practical, strict=True):
        np.testing.assert_allclose(direction(u), direction(v), atol=1e-10)


def test_asgo_theory_of_a_row_is_adagrad():
    grads = [normal((1, 5), k) for k in range(3)]
    left, right = (AsgoTheoryRule((1, 5), 0.0, 1e-2, side, 9) for side in ("left", "right"))
    total, outer = 0.0, np.zeros((5, 5))
    for step, g in enumerate(grads, start=1):
        total, outer = total + np.sum(g**2), outer + g.T @ g
        norm_only = left.update(g, np.zeros((1, 5)), step, True)
        np.testing.assert_allclose(norm_only, g / (np.sqrt(total) + 1e-2), rtol=1e-12)
        full = right.update(g, np.zeros((1, 5)), step, True)
        w, q = np.linalg.eigh(outer)
        root = q @ np.diag(np.sqrt(np.maximum(w, 0))) @ q.T
        np.testing.assert_allclose(full, g @ np.linalg.inv(root + 1e-2 * np.eye(5)), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_adagrad_lemma(seed):
    grads = [normal((4, 6), 10 * seed + k) * 3.0**k for k in range(5)]
    total, v = 0.0, np.zeros((4, 4))
    for g, u in zip(grads, updates(ASGOTheory([(4, 6)], eps=0.0, **NO_DECAY), grads), strict=True):
        total, v = total + np.sum(g * u), v + g @ g.T
        trace = np.trace(power(v, 1 / 2))
        assert trace * (1 - 1e-12) <= total <= 2 * trace


def test_asgo_theory_keeps_its_root_between_refreshes():
    g1, g2 = normal((4, 7), 1), normal((4, 7), 2)
    ref = ASGOTheory([(4, 7)], eps=0.1, refresh_every=2, **NO_DECAY)
    root = np.linalg.inv(power(g1 @ g1.T, 1 / 2) + 0.1 * np.eye(4))
    assert_all_close(updates(ref, [g1, g2]), [root @ g1, root @ g2], 1e-10)


def test_asgo_theory_does_not_divide_by_eps_alone():
    g1 = np.outer(normal((6,), 1), normal((4,), 2))  # V has rank 1, and rounding besides
    g2 = normal((6, 4), 3)
    ref = ASGOTheory([(6, 4)], eps=1e-12, refresh_every=2, **NO_DECAY)
    second = updates(ref, [g1, g2])[1]
    top = np.linalg.norm(g1)  # the root of V's only eigenvalue
    a = g1 @ normal((4,), 4)
    along = np.outer(a, a) / (a @ a) @ g2
    floor = top * np.sqrt(6 * 2.0**-52)
    np.testing.assert_allclose(second, along / top + (g2 - along) / (floor + 1e-12), rtol=1e-5)


@pytest.mark.parametrize("make", [ASGO, ASGOTheory])
def test_a_side_beyond_max_dim_gives_way_to_the_other(make):
    for shape, given, taken in [((4, 7), "right", "left"), ((7, 4), "left", "right")]:
        grads = [normal(shape, k) for k in range(3)]
        hp: dict[str, Any] = {"refresh_every": 2, **NO_DECAY}
        expected = updates(make([shape], side=taken, **hp), grads)
        other = updates(make([shape], side=given, **hp), grads)
        assert np.abs(other[-1] - expected[-1]).max() > 1e-3
        assert_all_close(updates(make([shape], side=given, max_dim=6, **hp), grads), expected, 0)
        assert_all_close(updates(make([shape], side=given, max_dim=7, **hp), grads), other, 0)
        for side in ("small", taken):
            assert_all_close(updates(make([shape], side=side, max_dim=4, **hp), grads), expected, 0)


# ---------------------------------------- DASGO


def test_dasgo_in_numbers():
    g1, g2 = np.array([[3.0, 0.0], [4.0, 1.0]]), np.array([[1.0, 2.0], [0.0, 2.0]])
    ref = DASGO([(2, 2)], beta1=0.5, beta2=0.75, eps=0.25, **NO_DECAY)
    first, second = updates(ref, [g1, g2])
    u = g1 / np.sqrt([6.25 + 0.25, 0.25 + 0.25])  # v = (25, 1) / 4
    np.testing.assert_allclose(first, u * 0.4 / np.linalg.norm(u), rtol=1e-13)
    # v = 3/4 (6.25, 0.25) + 1/4 (1, 8), M = (g1 / 2 + g2) / 2
    u = (0.5 * g1 + g2) / np.sqrt([4.9375 + 0.25, 2.1875 + 0.25])
    np.testing.assert_allclose(second, u * 0.4 / np.linalg.norm(u), rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_dasgo_is_right_asgo_on_orthogonal_columns(shape):
    m, n = shape
    grads = []
    for k in range(4):  # G^T G diagonal: some columns are zero where n > m
        columns = np.zeros(shape)
        r = min(m, n)
        columns[:, :r] = orthogonal(m, k)[:, :r] * np.random.default_rng(k).uniform(1, 3, r)
        grads.append(columns)
    hp: dict[str, Any] = {"beta1": 0.7, "beta2": 0.8, "eps": 1e-13, **NO_DECAY}
    asgo = updates(ASGO([shape], side="right", refresh_every=1, **hp), grads)
    assert_all_close(updates(DASGO([shape], **hp), grads), asgo, 1e-8)


def test_dasgo_normalises_input_features_in_both_layouts():
    grads = [normal((4, 7), k) for k in range(3)]
    plain = updates(DASGO([(4, 7)], **NO_DECAY), grads)
    flipped = updates(DASGO([(7, 4)], weight_layout="in_out", **NO_DECAY), [g.T for g in grads])
    assert_all_close([u.T for u in flipped], plain)
    stretched = updates(DASGO([(4, 7)], eps=0.0, **NO_DECAY), [g * np.arange(1, 8) for g in grads])
    assert_all_close(stretched, updates(DASGO([(4, 7)], eps=0.0, **NO_DECAY), grads))
    for u in plain:
        assert np.linalg.norm(u) == pytest.approx(0.2 * np.sqrt(28), rel=1e-13)


# ---------------------------------------- Muon


def quintic(x, steps=5):
    a, b, c = QUINTIC
    for _ in range(steps):
        x = a * x + b * x**3 + c * x**5
    return x


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 5])
def test_quintic_polar_maps_singular_values(shape, steps):
    g = normal(shape, 2)
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    expected = (u * quintic(s / np.linalg.norm(s), steps)) @ vt
    np.testing.assert_allclose(quintic_polar(g, steps), expected, atol=1e-12)


def test_quintic_polar_is_roughly_polar():
    g = normal((4, 7), 3)
    s = np.linalg.svd(quintic_polar(g, 5), compute_uv=False)
    assert s.max() < 1.3
    assert s.min() > 0.6
    assert np.linalg.norm(quintic_polar(g, 5) - polar(g)) < 0.35 * np.linalg.norm(polar(g))
    np.testing.assert_allclose(quintic_polar(g.T, 5), quintic_polar(g, 5).T)
    np.testing.assert_allclose(quintic_polar(1e6 * g, 5), quintic_polar(g, 5), rtol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_momentum_and_scale(shape):
    rows, cols = shape
    g1, g2 = normal(shape, 1), normal(shape, 2)
    m = 0.3 * (0.7 * g1 + g2)
    for nesterov, mixed in ((True, 0.3 * g2 + 0.7 * m), (False, m)):
        for adjust, factor in (
            ("original", np.sqrt(rows / cols) if rows > cols else 1.0),
            ("match_rms_adamw", 0.2 * np.sqrt(max(shape))),
        ):
            hp: dict[str, Any] = {"momentum": 0.7, "nesterov": nesterov, "adjust_lr": adjust}
            u = updates(Muon([shape], **hp, **NO_DECAY), [g1, g2])[1]
            np.testing.assert_allclose(u, factor * quintic_polar(mixed, 5), atol=1e-13)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_agrees_with_torch(shape, adjust, nesterov, monkeypatch):
    # torch iterates in bfloat16: in double precision instead the two are the same
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
    w = normal(shape, 5)
    theirs = torch.nn.Parameter(torch.tensor(w))
    hp: dict[str, Any] = {"lr": 0.05, "weight_decay": 0.3, "momentum": 0.9, "nesterov": nesterov}
    opt = torch.optim.Muon([theirs], adjust_lr_fn=adjust, **hp)
    ref = Muon([shape], adjust_lr=adjust, **hp)
    for k in range(8):
        g = normal(shape, 30 + k)
        theirs.grad = torch.tensor(g)
        opt.step()
        (w,) = ref.step([w], [g])
    np.testing.assert_allclose(w, theirs.detach().numpy(), atol=1e-13)


# ---------------------------------------- properties of all


@pytest.mark.parametrize("make", [ASGOTheory, Muon])
def test_orthogonal_equivariance_and_sign(make):
    q, r = orthogonal(4, 1), orthogonal(7, 2)
    grads = [normal((4, 7), s) for s in range(4)]
    plain = updates(make([(4, 7)], **NO_DECAY), grads)
    turned = updates(make([(4, 7)], **NO_DECAY), [q @ g @ r.T for g in grads])
    assert_all_close([q.T @ u @ r for u in turned], plain, 1e-9)
    negative = updates(make([(4, 7)], **NO_DECAY), [-g for g in grads])
    assert_all_close([-u for u in negative], plain, 1e-12)


@pytest.mark.parametrize("make", [ASGOTheory, DASGO, Muon])
def test_rank_one(make):
    g = np.outer(normal((5,), 1), np.array([1.0, -1.0, 1.0, 1.0]))  # |b| even: DASGO keeps it
    for u in updates(make([(5, 4)], **NO_DECAY), [g, 2 * g, 3 * g]):
        np.testing.assert_allclose(direction(u), direction(g), atol=1e-7)


@pytest.mark.parametrize("make", [ASGOTheory, DASGO, Muon])
def test_zero_gradient_only_decays(make):
    shapes: list[tuple[int, ...]] = [(4, 7), (3, 4, 2, 2), (5,)]
    params = [normal(s, k) for k, s in enumerate(shapes)]
    new = make(shapes, lr=0.1, weight_decay=0.2).step(params, [np.zeros(s) for s in shapes])
    for p, q in zip(params, new, strict=True):
        np.testing.assert_allclose(q, p * (0.98 if p.ndim > 1 else 1.0), rtol=1e-14)


@pytest.mark.parametrize("make", [ASGOTheory, DASGO, Muon, ASGO])
def test_fallback(make):
    shapes: list[tuple[int, ...]] = [(5,), (), (1, 6), (6, 5), (6, 5), (6, 5), (8, 9), (6, 9)]
    roles = ["matrix", "matrix", "matrix", "embedding", "vector", "head", "matrix", "matrix"]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    got = trajectory(make(shapes, roles, max_dim=7, **hp), shapes)
    decayed = trajectory(NAdamW(shapes, **hp), shapes)
    bare = trajectory(NAdamW(shapes, lr=0.1, weight_decay=0.0), shapes)
    assert_all_close(got[:2], bare[:2])
    assert_all_close(got[2:7], decayed[2:7])  # (8, 9): both sides are longer than max_dim
    assert not np.allclose(got[7], decayed[7])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="side"):
        ASGOTheory([(2, 2)], side="both")
    with pytest.raises(ValueError, match="adjust_lr"):
        Muon([(2, 2)], adjust_lr="moonlight")
