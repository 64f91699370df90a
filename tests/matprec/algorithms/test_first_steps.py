"""The first steps of a training run: gradients of zero, of low rank, ill-conditioned ones."""

import array_api_compat.torch as xp
import jax
import jax.numpy as jnp
import numpy as np
import optimizers
import pytest
import torch
from stacks import run

import matprec.jax
import matprec.torch
from matprec import layout, settings
from matprec import step as stepping
from matprec.algorithms import ASGO, AdafacDiag, AdafacDiagPlusPlus, ASGOTheory, Shampoo

REFRESHING = pytest.mark.parametrize("name", optimizers.REFRESHING_NAMES)
SHAPE = (5, 8)


def gradients(steps=4, seed=0):
    """The first of them zero, as a head that starts from zero makes those of all other layers."""
    rng = np.random.default_rng(seed)
    return [np.zeros(SHAPE), *rng.normal(size=(steps - 1, *SHAPE))]


def refreshes_in_torch(name, grads, **hyperparameters):
    param = torch.nn.Parameter(torch.zeros(SHAPE, dtype=torch.float64))
    optimizer = optimizers.torch_class(name)([param], **hyperparameters)
    found = []
    for grad in grads:
        param.grad = None if grad is None else torch.tensor(grad)
        optimizer.step() if grad is not None else None
        (state,) = optimizer._groups[0].stacks
        found.append(int(state["last_refresh"][0]))
    return found


@REFRESHING
def test_the_first_refresh_does_not_wait_for_the_schedule(x64, name):
    grads = gradients()
    assert refreshes_in_torch(name, grads, refresh_every=100) == [0, 2, 2, 2]
    params = {"w": jnp.zeros(SHAPE)}
    optimizer = optimizers.alias(name)(0.1, refresh_every=100)
    update, jax_state = jax.jit(optimizer.update), optimizer.init(params)
    found = []
    for grad in grads:
        _, jax_state = update({"w": jnp.asarray(grad)}, jax_state, params)
        found.append(int(jax_state[0].stacks[0]["last_refresh"][0]))
    assert found == [0, 2, 2, 2]


@REFRESHING
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nor_after_a_gradient_that_is_not_finite(name, bad):
    grads = gradients()
    grads[0] = np.full(SHAPE, bad)
    # Its `t` does not count the step that was left out.
    assert refreshes_in_torch(name, grads, refresh_every=100) == [0, 1, 1, 1]


@REFRESHING
def test_nor_before_the_start(name):
    found = refreshes_in_torch(name, gradients(6), refresh_every=100, start_step=4)
    assert found == [0, 0, 0, 4, 4, 4]


@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (128, 32)])
@pytest.mark.parametrize("rank", [8, 32])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_theory_version_of_asgo_in_single_precision(shape, rank, scale):
    """Statistics are singular for many steps, and rounding errors must not become updates.

    Directions with eigenvalues near n u times the largest are shorter than they should be.
    """
    rng = np.random.default_rng(1)
    grads = [
        scale * rng.normal(size=(1, shape[0], rank)) @ rng.normal(size=(1, rank, shape[1]))
        for _ in range(4)
    ]
    exact, _ = run(xp, ASGOTheory(), grads)
    single, _ = run(xp, ASGOTheory(), [g.astype(np.float32) for g in grads])
    for one, other in zip(exact, single, strict=True):
        assert np.linalg.norm(other - one) < 0.2 * np.linalg.norm(one)


def test_a_first_step_in_both_bases_is_bounded():
    """Without the bound it would be as large as the gradient is ill-conditioned."""
    rng = np.random.default_rng(2)
    left, right = (np.linalg.qr(rng.normal(size=(12, 12)))[0] for _ in range(2))
    grads = [(left * np.logspace(0, -5, 12)) @ right] * 3

    def lengths(algorithm):
        updates, _ = run(xp, algorithm, [g[None] for g in grads])
        return [np.sqrt(np.mean(u**2)) for u in updates]

    assert lengths(AdafacDiagPlusPlus(clip=None))[0] > 1e3
    assert lengths(AdafacDiagPlusPlus()) == pytest.approx([1, 1, 1])
    assert max(lengths(AdafacDiag())) < 3
    assert lengths(AdafacDiagPlusPlus(clip=0.5)) == pytest.approx([0.5] * 3)


def test_what_fits_no_side_goes_to_the_fallback():
    """Also where sides are merged: a vector of 24 is longer than max_dim."""
    options = settings.layout_options(
        Shampoo(merge="meta", block_size=None, max_dim=8), "out_in", None
    )
    plan = layout.make_plan([(6, 4), (2, 4)], [None, None], [(8, "")] * 2, options)
    assert {stack.owners: stack.elementwise for stack in plan.stacks} == {(0,): True, (1,): False}
    param = torch.nn.Parameter(torch.ones(6, 4))
    optimizer = matprec.torch.Shampoo([param], merge="meta", block_size=64, max_dim=8)
    param.grad = torch.ones(6, 4)
    optimizer.step()
    assert not torch.equal(param, torch.ones(6, 4))


@pytest.mark.parametrize("algorithm", [ASGO, ASGOTheory])
def test_a_chosen_side_longer_than_max_dim_gives_way(algorithm):
    grads = [np.random.default_rng(3).normal(size=(1, 9, 4))] * 2
    chosen, states = run(xp, algorithm(side="left", max_dim=8), grads)
    small, _ = run(xp, algorithm(side="right"), grads)
    np.testing.assert_array_equal(chosen, small)
    assert states[0]["root"].shape == (1, 4, 4)


@pytest.mark.parametrize("name", optimizers.NAMES)
def test_the_device_is_asked_only_while_something_waits(monkeypatch, name):
    """In torch every question is a wait for an accelerator."""
    asked = []
    any_waits = stepping.any_waits
    monkeypatch.setattr(
        stepping, "any_waits", lambda *arguments: asked.append(1) or any_waits(*arguments)
    )
    params = [torch.nn.Parameter(torch.ones(5, 8)), torch.nn.Parameter(torch.ones(8))]
    optimizer = optimizers.torch_class(name)(params)
    for _ in range(4):
        for param in params:
            param.grad = torch.randn(param.shape)
        optimizer.step()
    assert len(asked) == (name in optimizers.REFRESHING_NAMES)
    assert not any(any(part.waiting) for part in optimizer._groups[0].parts)
