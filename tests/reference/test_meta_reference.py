"""Shampoo with merged dimensions and blocks of any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import meta
from reference.checks import NO_DECAY, assert_all_close, direction, normal, power, updates
from reference.meta import MetaShampoo, merged_shape, mode_product, out_in_axes, unfold
from reference.optimizers import NAdamW, Shampoo

SHAPES: list[tuple[int, ...]] = [(4, 7), (6, 3, 2, 2), (3, 4, 6), (8,), (), (1, 5), (1, 1)]


# ---------------------------------------- shapes


@pytest.mark.parametrize(
    ("shape", "block_size", "merged"),
    [
        ((64, 3, 7, 7), 1024, (192, 49)),
        ((512, 512, 3, 3), 1024, (512, 512, 9)),
        ((1000, 2048), 1024, (1000, 2048)),
        ((768,), 1024, (768,)),
        ((4096,), 1024, (4096,)),
        ((16, 32), 1024, (512,)),
        ((32, 32), 1024, (1024,)),
        ((32, 33), 1024, (32, 33)),
        ((1, 7, 1, 9), 8, (7, 9)),
        ((9, 2, 2, 2, 9), 8, (9, 8, 9)),
        ((1, 9), 8, (9,)),
        ((9, 1, 9), 8, (9, 9)),
        ((1, 1), 8, (1,)),
        ((), 8, (1,)),
    ],
)
def test_merged_shape(shape, block_size, merged):
    assert merged_shape(shape, block_size) == merged


def test_axes():
    assert out_in_axes(4, "out_in") == [0, 1, 2, 3]
    assert out_in_axes(4, "in_out") == [3, 2, 0, 1]
    assert out_in_axes(3, "in_out") == [2, 1, 0]
    assert out_in_axes(2, "in_out") == [1, 0]
    assert [out_in_axes(n, "in_out") for n in (0, 1)] == [[], [0]]


def test_unfold_and_mode_product():
    x, a = normal((2, 3, 4)), normal((5, 3))
    assert unfold(x, 1).shape == (3, 8)
    np.testing.assert_allclose(unfold(x, 1) @ unfold(x, 1).T, np.einsum("aib,ajb->ij", x, x))
    np.testing.assert_allclose(mode_product(x, a, 1), np.einsum("ij,ajb->aib", a, x))


def test_blocks():
    ref = MetaShampoo([(5, 7), (7,), (2, 2), ()], block_size=4)
    found = [[tuple(len(f) for f in rule.factors) for _, rule in r.blocks] for r in ref.rules]
    assert found[0] == [(4, 4), (4, 3), (1, 4), (1, 3)]
    assert found[1:] == [[(4,), (3,)], [(4,)], [(1,)]]


# ---------------------------------------- closed forms


HP: dict[str, Any] = {"beta1": 0.0, "beta2": 1.0, "eps": 1e-3, "eps_mode": "absolute"}
BARE: dict[str, Any] = HP | {"graft": "none", "refresh_every": 1} | NO_DECAY


def test_a_vector_gets_full_matrix_adagrad():
    g1, g2 = normal((5,), 1), normal((5,), 2)
    root = power(np.outer(g1, g1) + np.outer(g2, g2) + 1e-3 * np.eye(5), -1 / 2)
    got = updates(MetaShampoo([(5,)], **BARE), [g1, g2])[1]
    np.testing.assert_allclose(got, root @ g2, rtol=1e-9, atol=1e-9)


def test_a_scalar_is_a_vector_of_length_one():
    for shape in ((), (1,), (1, 1)):
        grads = [np.full(shape, 3.0), np.full(shape, 4.0)]
        got = updates(MetaShampoo([shape], **BARE), grads)[1]
        np.testing.assert_allclose(got, np.full(shape, 4 / np.sqrt(25.001)))


def test_a_small_matrix_is_a_vector():
    grads = [normal((2, 4), k) for k in range(3)]
    got = updates(MetaShampoo([(2, 4)], block_size=8, **BARE), grads)
    expected = updates(MetaShampoo([(8,)], block_size=8, **BARE), [g.ravel() for g in grads])
    assert_all_close([u.ravel() for u in got], expected)
    two_sided = updates(Shampoo([(2, 4)], block_size=8, **BARE), grads)
    assert np.abs(got[-1] - two_sided[-1]).max() > 1e-3


@pytest.mark.parametrize("exponent", [None, 0.5])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 2, 3)])
def test_order_k_block_is_a_kronecker_product(shape, exponent):
    k, size = len(shape), max(shape)
    g1, g2 = normal(shape, 1), normal(shape, 2)
    assert merged_shape(shape, size) == shape
    product = np.ones((1, 1))
    for axis, d in enumerate(shape):
        others = [a for a in range(k) if a != axis]
        factor = 1e-3 * np.eye(d)
        for g in (g1, g2):
            factor = factor + np.tensordot(g, g, axes=(others, others))
        product = np.kron(product, power(factor, -(exponent or 1 / (2 * k))))
    ref = MetaShampoo([shape], block_size=size, exponent=exponent, **BARE)
    got = updates(ref, [g1, g2])[1]
    np.testing.assert_allclose(got.ravel(), product @ g2.ravel(), atol=1e-10)


def test_what_does_not_merge_is_two_sided_shampoo():
    shape = (5, 7)
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.4, "refresh_every": 2}
    hp |= {"block_size": 6, "beta1": 0.8, "beta2": 0.95, "start_step": 2}
    for graft in ("adam", "sgd", "none"):
        a, b = Shampoo([shape], graft=graft, **hp), MetaShampoo([shape], graft=graft, **hp)
        wa = wb = normal(shape)
        for k in range(5):
            ((wa,), (wb,)) = a.step([wa], [normal(shape, k)]), b.step([wb], [normal(shape, k)])
        np.testing.assert_allclose(wa, wb, rtol=1e-11)


# ---------------------------------------- grafting, decay, roles, layouts


def test_grafting_block_by_block():
    shape, hp = (5, 7), {"beta1": 0.8, "beta2": 0.95, "block_size": 4, "refresh_every": 2}
    grads = [normal(shape, k) for k in range(4)]
    bare = updates(MetaShampoo([shape], graft="none", **hp, **NO_DECAY), grads)
    lengths = updates(NAdamW([shape], beta1=0.8, beta2=0.95, **NO_DECAY), grads)
    got = updates(MetaShampoo([shape], **hp, **NO_DECAY), grads)
    for u, b, n in zip(got, bare, lengths, strict=True):
        for cut in ((i, j) for i in (slice(0, 4), slice(4, 5)) for j in (slice(0, 4), slice(4, 7))):
            expected = np.linalg.norm(n[cut]) * direction(b[cut])
            np.testing.assert_allclose(u[cut], expected, atol=1e-11)


def test_before_start_it_is_nadamw_with_decay_on_every_tensor():
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2, "beta1": 0.8, "beta2": 0.95}
    a = MetaShampoo(SHAPES, ["embedding"] * len(SHAPES), start_step=5, block_size=4, **hp)
    b = NAdamW(SHAPES, **hp)
    pa = pb = [normal(s, k) for k, s in enumerate(SHAPES)]
    for step in range(5):
        np.testing.assert_equal(len(pa), len(SHAPES))
        assert_all_close(pa, pb)
        grads = [normal(s, 10 * step + k) for k, s in enumerate(SHAPES)]
        pa, pb = a.step(pa, grads), b.step(pb, grads)
    different = [np.abs(x - y).max() > 1e-6 for x, y in zip(pa, pb, strict=True)]
    # a block of one number keeps its own length under grafting
    assert different == [True, True, True, True, False, True, False]


@pytest.mark.parametrize("shape", [(4, 7), (6, 3, 2, 2), (5, 4, 3), (2, 3, 2, 2, 2), (9,), ()])
def test_torch_and_flax_layouts_are_one_problem(shape):
    axes = out_in_axes(len(shape), "in_out")
    back = list(np.argsort(axes))
    flax = tuple(np.transpose(np.zeros(shape), back).shape)
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "refresh_every": 2, "block_size": 4}
    a, b = MetaShampoo([shape], **hp), MetaShampoo([flax], weight_layout="in_out", **hp)
    wa = normal(shape)
    wb = wa.transpose(back)
    for k in range(4):
        g = normal(shape, 10 + k)
        ((wa,), (wb,)) = a.step([wa], [g]), b.step([wb], [g.transpose(back)])
    assert wb.shape == flax
    np.testing.assert_allclose(wb.transpose(axes), wa, rtol=1e-11)


def test_a_kernel_is_merged_from_its_outputs():
    ref = MetaShampoo([(7, 7, 3, 64)], weight_layout="in_out", block_size=1024)
    assert ref.rules[0].merged == (192, 49)


def test_huge_axes_fall_back(monkeypatch):
    monkeypatch.setattr(meta, "MAX_AXIS", 7)
    shapes: list[tuple[int, ...]] = [(7,), (7, 2), (6,)]
    hp: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.2}
    params = [normal(s) for s in shapes]
    grads = [normal(s, 1) for s in shapes]
    ref, plain, bare = MetaShampoo(shapes, **hp), NAdamW(shapes, **hp), NAdamW(shapes, lr=0.1)
    new, decayed = ref.step(params, grads), plain.step(params, grads)
    np.testing.assert_allclose(new[0], bare.step(params, grads)[0])
    np.testing.assert_allclose(new[1], decayed[1])
    assert np.abs(new[2] - decayed[2]).max() > 1e-3


def test_zero_gradient_only_decays_and_bad_ones_change_nothing():
    params = [normal(s, k) for k, s in enumerate(SHAPES)]
    ref = MetaShampoo(SHAPES, lr=0.1, weight_decay=0.2, block_size=4)
    new = ref.step(params, [np.zeros(s) for s in SHAPES])
    assert_all_close(new, [0.98 * p for p in params])
    bad = [np.full(s, np.nan) for s in SHAPES]
    assert_all_close(ref.step(new, bad), new, 0.0)


def test_merging_needs_a_block_size():
    with pytest.raises(ValueError, match="block_size"):
        MetaShampoo([(2, 2)], block_size=None)
