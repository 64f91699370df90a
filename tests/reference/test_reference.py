"""The NumPy references, checked by identities, closed forms and torch.optim.AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from reference.optimizers import (
    ASGO,
    AdamW,
    NAdamW,
    Shampoo,
    from_matrix,
    inverse_root,
    merge_3d,
    to_matrix,
)

MATRIX_SHAPES = [(4, 7), (7, 4), (5, 5)]
MIXED_SHAPES = [(4, 7), (7, 4), (5, 5), (6, 3, 2, 2), (3, 4, 6), (8,), (), (1, 5)]
NO_DECAY: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0}


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def polar(g):
    return scipy.linalg.polar(g, side="right")[0]


def power(a, p):
    """Independent of the reference's eigh: scipy's Schur-Pade matrix power."""
    return np.real(scipy.linalg.fractional_matrix_power(a, p))


def updates(ref, grads):
    """-lr-free updates of a single tensor with lr = 1 and no decay, one per gradient."""
    w, out = np.zeros(grads[0].shape), []
    for g in grads:
        (new,) = ref.step([w], [g])
        out.append(w - new)
        w = new
    return out


def trajectory(ref, shapes, steps=6, seed=1, grads_of=lambda g: g):
    params = [normal(s, 100 + k) for k, s in enumerate(shapes)]
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        params = ref.step(params, [grads_of(rng.standard_normal(s)) for s in shapes])
    return params


def assert_all_close(xs, ys, rtol=1e-12):
    for x, y in zip(xs, ys, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol)


# ---------------------------------------- identities 6.1


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
def test_asgo_without_memory_is_polar(shape):  # 6.1.1
    ref = ASGO([shape], beta1=0.0, beta2=0.0, eps=1e-14, refresh_every=1, **NO_DECAY)
    grads = [normal(shape, s) for s in range(3)]
    for g, u in zip(grads, updates(ref, grads), strict=True):
        np.testing.assert_allclose(u, 0.2 * np.sqrt(max(shape)) * polar(g), atol=1e-9)


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
def test_shampoo_without_memory_is_polar(shape):  # 6.1.2
    hp: dict[str, Any] = {
        "beta1": 0.0,
        "beta2": 0.0,
        "eps": 1e-13,
        "graft": "none",
        "refresh_every": 1,
    }
    grads = [normal(shape, s) for s in range(3)]
    for g, u in zip(grads, updates(Shampoo([shape], **hp, **NO_DECAY), grads), strict=True):
        np.testing.assert_allclose(u, polar(g), atol=1e-9)


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
@pytest.mark.parametrize("betas", [(0.9, 0.8), (0.5, 0.99), (0.9, 1.0)])
def test_asgo_step_one_is_scaled_polar(shape, betas):  # 6.1.4
    g = normal(shape, 3)
    ref = ASGO([shape], beta1=betas[0], beta2=betas[1], eps=1e-14, **NO_DECAY)
    (u,) = updates(ref, [g])
    np.testing.assert_allclose(u, 0.2 * np.sqrt(max(shape)) * polar(g), atol=1e-9)


def test_asgo_is_not_polar_of_the_momentum():  # 6.1.4, second half
    shape = (4, 7)
    ref = ASGO([shape], beta1=0.9, beta2=0.0, eps=1e-14, refresh_every=1, **NO_DECAY)
    grads = [normal(shape, s) for s in range(3)]
    m = sum(0.9 ** (2 - k) * g for k, g in enumerate(grads))
    expected = 0.2 * np.sqrt(max(shape)) * polar(m)
    u = updates(ref, grads)[-1]
    assert np.linalg.norm(u - expected) > 0.2 * np.linalg.norm(expected)


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
@pytest.mark.parametrize("refresh_every", [1, 3])
def test_constant_gradient(shape, refresh_every):  # 6.1.5
    g = normal(shape, 4)
    hp: dict[str, Any] = {"refresh_every": refresh_every, **NO_DECAY}
    for u in updates(ASGO([shape], eps=1e-14, **hp), [g] * 5):
        np.testing.assert_allclose(u, 0.2 * np.sqrt(max(shape)) * polar(g), atol=1e-9)
    plain = Shampoo([shape], eps=1e-13, graft="none", nesterov=False, **hp)
    for u in updates(plain, [g] * 5):
        np.testing.assert_allclose(u, polar(g), atol=1e-9)
    mixed = updates(Shampoo([shape], eps=1e-13, graft="none", nesterov=True, **hp), [g] * 5)
    for t, u in enumerate(mixed, start=1):
        factor = (0.9 * (1 - 0.9**t) + 0.1) / (1 - 0.9**t)
        np.testing.assert_allclose(u, factor * polar(g), atol=1e-8)
    # Adam grafting of a constant gradient: the norm of factor * sign(G)
    for t, u in enumerate(updates(Shampoo([shape], **hp), [g] * 5), start=1):
        factor = (0.9 * (1 - 0.9**t) + 0.1) / (1 - 0.9**t)
        assert np.linalg.norm(u) == pytest.approx(factor * np.sqrt(g.size), rel=1e-6)


# ---------------------------------------- second steps, in closed form


@pytest.mark.parametrize(("shape", "side"), [((4, 7), "small"), ((4, 7), "left"), ((5, 5), "left")])
def test_asgo_left_second_step(shape, side):
    g1, g2 = normal(shape, 5), normal(shape, 6)
    ref = ASGO([shape], beta1=0.7, beta2=0.6, eps=1e-15, side=side, refresh_every=1, **NO_DECAY)
    x = power(0.4 * (0.6 * g1 @ g1.T + g2 @ g2.T), -0.5)
    u = x @ (0.3 * (0.7 * g1 + g2))
    expected = u * 0.2 * np.sqrt(u.size) / np.linalg.norm(u)
    np.testing.assert_allclose(updates(ref, [g1, g2])[1], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "side"), [((7, 4), "small"), ((5, 5), "small"), ((6, 4), "right")]
)
def test_asgo_right_second_step_with_sum(shape, side):
    g1, g2 = normal(shape, 5), normal(shape, 6)
    ref = ASGO([shape], beta2=1.0, eps=1e-15, side=side, refresh_every=1, **NO_DECAY)
    u = (0.9 * g1 + g2) @ power(g1.T @ g1 + g2.T @ g2, -0.5)
    expected = u * 0.2 * np.sqrt(u.size) / np.linalg.norm(u)
    np.testing.assert_allclose(updates(ref, [g1, g2])[1], expected, atol=1e-9)


@pytest.mark.parametrize("beta2", [0.6, 1.0])
@pytest.mark.parametrize("exponent", [0.25, 0.5])
@pytest.mark.parametrize("graft", ["none", "sgd", "adam"])
def test_shampoo_second_step(beta2, exponent, graft):
    shape, eps = (4, 6), 1e-3
    g1, g2 = normal(shape, 7), normal(shape, 8)
    hp: dict[str, Any] = {
        "beta1": 0.7,
        "beta2": beta2,
        "exponent": exponent,
        "eps": eps,
        "graft": graft,
    }
    ref = Shampoo([shape], eps_mode="absolute", refresh_every=1, **hp, **NO_DECAY)
    a, b = (1.0, 1.0) if beta2 == 1 else (0.4 * 0.6 / (1 - 0.36), 0.4 / (1 - 0.36))
    left = power(a * g1 @ g1.T + b * g2 @ g2.T + eps * np.eye(4), -exponent)
    right = power(a * g1.T @ g1 + b * g2.T @ g2 + eps * np.eye(6), -exponent)
    m = 0.3 * (0.7 * g1 + g2)
    m_hat = (0.7 * m + 0.3 * g2) / (1 - 0.49)
    expected = left @ m_hat @ right
    if graft != "none":
        size = m_hat if graft == "sgd" else m_hat / (np.sqrt(a * g1**2 + b * g2**2) + 1e-8)
        expected = expected * np.linalg.norm(size) / np.linalg.norm(expected)
    np.testing.assert_allclose(updates(ref, [g1, g2])[1], expected, atol=1e-9)


def test_shampoo_momentum_is_nesterov_over_the_decayed_update():
    shape, mu, wd, lr = (4, 6), 0.6, 0.3, 0.1
    w0, g1, g2 = normal(shape, 9), normal(shape, 10), normal(shape, 11)
    plain = Shampoo([shape], **NO_DECAY)
    d1, d2 = updates(plain, [g1, g2])  # directions do not depend on the parameters
    u1 = d1 + wd * w0
    w1 = w0 - lr * (1 - mu**2) * u1
    u2 = d2 + wd * w1
    ball = mu * (1 - mu) * u1 + (1 - mu) * u2
    w2 = w1 - lr * ((1 - mu) * u2 + mu * ball)
    ref = Shampoo([shape], momentum=mu, weight_decay=wd, lr=lr)
    (got1,) = ref.step([w0], [g1])
    (got2,) = ref.step([got1], [g2])
    assert_all_close([got1, got2], [w1, w2])


# ---------------------------------------- Adam family


def test_adamw_agrees_with_torch():
    shapes = [(4, 7), (3, 2, 2, 2), (5,), ()]
    params = [normal(s, k) for k, s in enumerate(shapes)]
    hp: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.3}
    ref = AdamW(shapes, beta1=0.8, beta2=0.95, eps=1e-4, **hp)
    theirs = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in params]
    opt = torch.optim.AdamW(theirs, betas=(0.8, 0.95), eps=1e-4, **hp)
    for k in range(8):
        grads = [normal(s, 50 * k + j) for j, s in enumerate(shapes)]
        for p, g in zip(theirs, grads, strict=True):
            p.grad = torch.tensor(g, dtype=torch.float64)
        opt.step()
        params = ref.step(params, grads)
    assert_all_close(params, [p.detach().numpy() for p in theirs], rtol=1e-13)


def test_nadamw_is_adamw_without_momentum_and_differs_with_it():
    a = trajectory(NAdamW(MIXED_SHAPES, beta1=0.0, weight_decay=0.1), MIXED_SHAPES)
    b = trajectory(AdamW(MIXED_SHAPES, beta1=0.0, weight_decay=0.1), MIXED_SHAPES)
    assert_all_close(a, b)
    c = trajectory(NAdamW(MIXED_SHAPES, weight_decay=0.1), MIXED_SHAPES)
    assert (
        np.abs(c[0] - trajectory(AdamW(MIXED_SHAPES, weight_decay=0.1), MIXED_SHAPES)[0]).max() > 0
    )


def test_nadamw_second_step():
    g1, g2, w = normal((5,), 1), normal((5,), 2), normal((5,), 3)
    ref = NAdamW([(5,)], lr=0.1, weight_decay=0.2, beta1=0.7, beta2=0.6, eps=1e-3)
    (w1,) = ref.step([w], [g1])
    np.testing.assert_allclose(
        w1, w - 0.1 * ((0.7 * 0.3 + 0.3) * g1 / 0.3 / (np.abs(g1) + 1e-3) + 0.2 * w), rtol=1e-12
    )
    m = 0.3 * (0.7 * g1 + g2)
    v_hat = 0.4 * (0.6 * g1**2 + g2**2) / (1 - 0.36)
    u = (0.7 * m + 0.3 * g2) / (1 - 0.49) / (np.sqrt(v_hat) + 1e-3)
    (w2,) = ref.step([w1], [g2])
    np.testing.assert_allclose(w2, w1 - 0.1 * (u + 0.2 * w1), rtol=1e-12)


def test_shampoo_before_start_is_nadamw():  # 6.2.11
    shapes = [(4, 7), (3, 4, 2, 2)]
    hp: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, "lr": 0.1, "weight_decay": 0.1}
    a = trajectory(Shampoo(shapes, start_step=7, block_size=3, **hp), shapes, steps=6)
    assert_all_close(a, trajectory(NAdamW(shapes, **hp), shapes, steps=6))
    b = trajectory(Shampoo(shapes, start_step=6, block_size=3, **hp), shapes, steps=6)
    assert np.abs(a[0] - b[0]).max() > 1e-6


@pytest.mark.parametrize("cls", [ASGO, Shampoo])
def test_fallback(cls):
    shapes = [(5,), (), (1, 6), (6, 5), (6, 5), (6, 5)]
    roles = ["matrix", "matrix", "matrix", "embedding", "vector", "head"]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    got = trajectory(cls(shapes, roles, **hp), shapes)
    decayed = trajectory(NAdamW(shapes, **hp), shapes)
    bare = trajectory(NAdamW(shapes, lr=0.1, weight_decay=0.0), shapes)
    assert_all_close(got[:2], bare[:2])
    assert_all_close(got[2:5], decayed[2:5])
    assert np.allclose(got[5], decayed[5]) == (cls is ASGO)


# ---------------------------------------- layout


@pytest.mark.parametrize("layout", ["out_in", "in_out"])
@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 5), (5, 3, 2), (2, 3, 4, 5)])
def test_matrix_round_trip(shape, layout):
    x = normal(shape)
    np.testing.assert_array_equal(from_matrix(to_matrix(x, layout), shape, layout), x)


def test_matrix_views():
    assert merge_3d((64, 4, 16)) == (64, 64)
    assert merge_3d((4, 16, 64)) == (64, 64)
    assert merge_3d((3, 1, 3)) == (3, 3)
    assert merge_3d((4, 1, 2)) == (4, 2)
    assert merge_3d((2, 3, 2)) == (2, 6)  # a tie, (2, 6) against (6, 2)
    x = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    oihw, hwio = to_matrix(x, "out_in"), to_matrix(x, "in_out")
    assert oihw[1, 2 * 20 + 3 * 5 + 4] == x[1, 2, 3, 4]
    assert hwio[4, 3 * 6 + 1 * 3 + 2] == x[1, 2, 3, 4]  # column = i * h*w + h_index * w + w_index
    assert to_matrix(x[0], "out_in").shape == (12, 5)
    assert to_matrix(x[0], "in_out").shape == (5, 12)
    with pytest.raises(ValueError, match="5 dimensions"):
        to_matrix(np.zeros((2, 2, 2, 2, 2)), "out_in")


@pytest.mark.parametrize("make", [ASGO, lambda *a, **k: Shampoo(*a, block_size=3, **k)])
def test_torch_and_flax_layouts_are_one_problem(make):
    axes = {2: (1, 0), 4: (2, 3, 1, 0)}
    torch_shapes = [(4, 7), (7, 4), (5, 5), (6, 3, 2, 2)]
    flax_shapes = [tuple(np.transpose(np.zeros(s), axes[len(s)]).shape) for s in torch_shapes]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "refresh_every": 2}
    a, b = make(torch_shapes, **hp), make(flax_shapes, weight_layout="in_out", **hp)
    pa = [normal(s, k) for k, s in enumerate(torch_shapes)]
    pb = [p.transpose(axes[p.ndim]) for p in pa]
    for k in range(4):
        ga = [normal(s, 10 * k + j) for j, s in enumerate(torch_shapes)]
        pa, pb = a.step(pa, ga), b.step(pb, [g.transpose(axes[g.ndim]) for g in ga])
    assert_all_close([p.transpose(axes[p.ndim]) for p in pa], pb)


def test_blocks_are_independent_problems():
    shape = (5, 7)
    cuts = [(slice(i, i + 3), slice(j, j + 3)) for i in (0, 3) for j in (0, 3, 6)]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.4, "refresh_every": 2}
    blocked = Shampoo([shape], block_size=3, **hp)
    whole = Shampoo([shape], block_size=None, **hp)
    parts = [Shampoo([(1, 1)], **hp) for _ in cuts]
    w = w_whole = normal(shape, 30)
    pieces = [w[c] for c in cuts]
    # a 1-wide piece alone would fall back, so give every piece its rule by hand
    for part, piece in zip(parts, pieces, strict=True):
        part.shapes, part.is_matrix = [piece.shape], [True]
        part.rules = [part.matrix_rule(piece.shape, hp["weight_decay"])]
    for k in range(4):
        g = normal(shape, 40 + k)
        (w,), (w_whole,) = blocked.step([w], [g]), whole.step([w_whole], [g])
        pieces = [p.step([x], [g[c]])[0] for p, x, c in zip(parts, pieces, cuts, strict=True)]
    assert_all_close([w[c] for c in cuts], pieces)
    assert np.abs(w - w_whole).max() > 1e-4


# ---------------------------------------- roots, schedule, bad input


def test_inverse_root():
    g = normal((6, 3))
    a = g @ g.T  # rank 3 of 6
    top = np.linalg.eigvalsh(a)[-1]
    for p in (0.25, 0.5):
        relative = power(a + 1e-3 * top * np.eye(6), -p)
        np.testing.assert_allclose(inverse_root(a, p, 1e-3, "relative_max"), relative, atol=1e-9)
        absolute = power(a + 1e-3 * np.eye(6), -p)
        np.testing.assert_allclose(inverse_root(a, p, 1e-3, "absolute"), absolute, atol=1e-8)
    np.testing.assert_array_equal(
        inverse_root(np.zeros((3, 3)), 0.5, 1e-6, "relative_max"), np.eye(3)
    )
    indefinite = np.diag([-0.5, 1.0])
    floor = inverse_root(indefinite, 0.5, 1e-2, "relative_max")
    np.testing.assert_allclose(floor, np.diag([0.005**-0.5, 1.01**-0.5]))
    shifted = inverse_root(indefinite, 0.5, 1e-2, "absolute")
    np.testing.assert_allclose(shifted, np.diag([0.01**-0.5, 1.51**-0.5]))


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (ASGO([(4, 6)], refresh_every=3), [1, 4, 7]),
        (Shampoo([(4, 6)], refresh_every=3, start_step=2), [2, 5, 8]),
        (Shampoo([(4, 6)], refresh_every=1, start_step=6), [6, 7, 8]),
    ],
)
def test_refresh_steps(ref, expected):
    rule = ref.rules[0] if isinstance(ref, ASGO) else ref.rules[0].blocks[0][2]
    name = "root" if isinstance(ref, ASGO) else "root_l"
    np.testing.assert_array_equal(getattr(rule, name), np.eye(4))
    w, seen = normal((4, 6)), []
    for step in range(1, 9):
        old = getattr(rule, name)
        (w,) = ref.step([w], [normal((4, 6), step)])
        if not np.array_equal(old, getattr(rule, name)):
            seen.append(step)
    assert seen == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("cls", [ASGO, Shampoo, NAdamW, AdamW])
def test_non_finite_gradient_leaves_only_its_tensor_alone(cls, bad):
    shapes = [(4, 6), (4, 6), (5,), (5,)]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    every: dict[str, Any] = {"refresh_every": 1} if cls in (ASGO, Shampoo) else {}
    ref, clean = cls(shapes, **hp, **every), cls(shapes, **hp, **every)
    params = expected = [normal(s, k) for k, s in enumerate(shapes)]
    for step in range(5):
        grads = [normal(s, 10 * step + k) for k, s in enumerate(shapes)]
        if step == 2:
            untouched = params
            grads[0][1, 1] = grads[2][3] = bad
            params = ref.step(params, grads)
            np.testing.assert_array_equal(params[0], untouched[0])
            np.testing.assert_array_equal(params[2], untouched[2])
            assert np.abs(params[1] - untouched[1]).max() > 0
            continue
        params = ref.step(params, grads)
        expected = clean.step(expected, grads)
    assert_all_close([params[0], params[2]], [expected[0], expected[2]])


@pytest.mark.parametrize(
    ("bad_steps", "expected"),
    [([1], [2, 4, 7]), ([1, 2, 3], [4, 7]), ([1, 2, 3, 4], [5, 7]), ([2, 3, 4], [1, 7])],
)
def test_a_bad_gradient_delays_the_first_refresh_and_takes_a_later_one(bad_steps, expected):
    ref = ASGO([(4, 6)], refresh_every=3)
    rule, w, seen = ref.rules[0], normal((4, 6)), []
    for step in range(1, 9):
        old = rule.root
        g = np.full((4, 6), np.nan) if step in bad_steps else normal((4, 6), step)
        (w,) = ref.step([w], [g])
        if not np.array_equal(old, rule.root):
            seen.append(step)
    assert seen == expected


def test_a_zero_gradient_delays_only_the_first_refresh():
    hp: dict[str, Any] = {"beta1": 0.0, "beta2": 0.5, "eps": 1e-14, "refresh_every": 3}
    ref, g = ASGO([(4, 6)], **hp, **NO_DECAY), normal((4, 6))
    rule, zero = ref.rules[0], np.zeros((4, 6))
    (first, second, third) = updates(ref, [zero, g, 3 * g])
    np.testing.assert_array_equal(first, zero)
    for u in (second, third):
        np.testing.assert_allclose(u, 0.2 * np.sqrt(6) * polar(g), atol=1e-9)
    root = power(g @ g.T / 2, -1 / 2)
    np.testing.assert_allclose(rule.root, root, rtol=1e-9)  # of step 2
    updates(ref, [zero])  # the refresh of step 4 comes, zero or not
    np.testing.assert_allclose(rule.root, power((1 / 8 + 9 / 4) * g @ g.T, -1 / 2), rtol=1e-9)


@pytest.mark.parametrize("cls", [ASGO, Shampoo])
def test_zero_gradient_only_decays(cls):
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    params = [normal(s, k) for k, s in enumerate(MIXED_SHAPES)]
    new = cls(MIXED_SHAPES, **hp).step(params, [np.zeros(s) for s in MIXED_SHAPES])
    for p, q in zip(params, new, strict=True):
        np.testing.assert_allclose(q, p * (0.98 if p.ndim > 1 else 1.0), rtol=1e-14)


@pytest.mark.parametrize("make", [ASGO, lambda s, **k: Shampoo(s, graft="sgd", **k)])
def test_orthogonal_equivariance_and_transpose(make):  # 6.4
    shape, steps = (4, 7), 4
    q, r = np.linalg.qr(normal((4, 4))).Q, np.linalg.qr(normal((7, 7))).Q
    grads = [normal(shape, s) for s in range(steps)]
    plain = updates(make([shape], **NO_DECAY), grads)
    turned = updates(make([shape], **NO_DECAY), [q @ g @ r.T for g in grads])
    flipped = updates(make([(7, 4)], **NO_DECAY), [g.T for g in grads])
    scaled = updates(make([shape], **NO_DECAY), [-g for g in grads])
    for u, v, f, s in zip(plain, turned, flipped, scaled, strict=True):
        np.testing.assert_allclose(v, q @ u @ r.T, atol=1e-8)
        np.testing.assert_allclose(f.T, u, atol=1e-8)
        np.testing.assert_allclose(s, -u, atol=1e-8)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="side"):
        ASGO([(2, 2)], side="both")
    with pytest.raises(ValueError, match="graft"):
        Shampoo([(2, 2)], graft="rmsprop")
    with pytest.raises(ValueError, match="weight_layout"):
        ASGO([(2, 2)], weight_layout="hwio")
    with pytest.raises(ValueError, match="fused_qkv"):
        ASGO([(6, 2)], ["fused_qkv"])
    with pytest.raises(ValueError, match="expected"):
        ASGO([(2, 2)]).step([np.zeros((2, 3))], [np.zeros((2, 3))])
