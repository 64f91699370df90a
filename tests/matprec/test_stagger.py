"""Staggered refreshes: every matrix in its own step, all alike in both frameworks."""

import array_api_compat.torch as plain
import jax
import numpy as np
import optimizers
import pytest
import torch
import torch_steps
from jax_steps import Trainer

from matprec import step as stepping

EVERY, STEPS = 4, 11
# Stacks of six, two and three matrices, and a vector.
SHAPES = [(3, 5), (5, 3), *[(3, 5)] * 3, *[(4, 4)] * 3, (5,), (5, 3), (3, 5), (3, 5)]
refreshing = pytest.mark.parametrize("name", optimizers.REFRESHING_NAMES)


def trained(name, **settings):
    """Parameters, optimizer, and `last_refresh` of every tensor's matrix after every step."""
    params = torch_steps.parameters(SHAPES)
    optimizer = torch_steps.make(name, params, every=EVERY, stagger=True, **settings)
    seen = []
    for step in range(STEPS):
        torch_steps.train(optimizer, params, [step])
        state = optimizer.state_dict()["state"]
        seen.append([float(state[i]["last_refresh"][0]) for i in range(len(SHAPES))])
    return params, optimizer, np.array(seen)


@refreshing
def test_every_matrix_has_its_own_step(name):
    """The first refresh comes at once; then each step has at most one matrix more than another."""
    every = 1 if name == "asgo_theory" else EVERY
    _, optimizer, seen = trained(name)
    assert optimizer.param_groups[0]["refresh_every"] == every
    matrices = [i for i, shape in enumerate(SHAPES) if len(shape) > 1]
    assert np.all(seen[0, matrices] == 1)
    due = seen == np.arange(1, STEPS + 1)[:, None]
    for start in range(1, STEPS - every, every):
        period = due[start : start + every][:, matrices]
        assert np.all(period.sum(axis=0) == 1)
        counts = period.sum(axis=1)
        assert counts.max() <= -(-len(matrices) // every) + 1
        assert counts.min() >= 1


@refreshing
def test_a_plain_run_of_each_stack_gives_the_same(name):
    """The whole stack is computed in every step; only what is due is kept."""
    params, optimizer, _ = trained(name, weight_decay=0.0)
    group, mine = optimizer.param_groups[0], optimizer._groups[0]
    algorithms = [optimizers.ALGORITHMS[name](**optimizers.quick(name, group["refresh_every"]))]
    phases = mine.phases(algorithms * 2)
    for number, stack in enumerate(mine.plan.stacks):
        if stack.elementwise:
            continue
        start = [torch_steps.parameters(SHAPES)[i].detach() for i in stack.owners]
        values, state = torch.stack(start), None
        everywhere = torch.ones(len(start), dtype=torch.bool)
        phase = torch.tensor(phases[number])
        for count in range(1, STEPS + 1):
            grads = torch_steps.gradients(params, count - 1)
            grad = torch.stack([grads[i] for i in stack.owners])
            state = stepping.init(plain, algorithms[0], grad) if state is None else state

            def answer(_, due, count=count, phase=phase):
                chosen = due.choose(stepping.is_due(due.algorithm, count, phase), True)
                return due.refresh(chosen, due.carry) if chosen.any() else due.carry

            (update,), (state,) = stepping.step(
                plain,
                algorithms,
                [state],
                [grad],
                owners=[stack.owners],
                live=[everywhere],
                finite=[everywhere],
                decays=[None],
                cond=answer,
            )
            values = values - group["lr"] * update
        for i, value in zip(stack.owners, values, strict=True):
            torch.testing.assert_close(params[i].detach(), value, rtol=1e-8, atol=1e-8)


@refreshing
def test_jax_does_what_torch_does(name, x64, quick_compilation):
    params, optimizer, _ = trained(name)
    group = optimizer.param_groups[0]
    keys = optimizers.quick(name, group["refresh_every"])
    mine = optimizers.alias(name)(
        group["lr"], weight_decay=0.1, stagger=True, weight_layout="out_in", **keys
    )
    start = jax.device_put([p.detach().numpy() for p in torch_steps.parameters(SHAPES)])
    trainer = Trainer(mine)
    grads = jax.device_put(
        [[g.numpy() for g in torch_steps.gradients(params, step)] for step in range(STEPS)]
    )
    values, _ = trainer.run(start, grads, jax.jit(mine.init)(start))
    assert trainer.compilations == 1
    # Rounding chooses the vectors of a null space, which the longer side has.
    square = optimizers.turns_both_sides(name)
    for value, param in zip(values, params, strict=True):
        if square and value.ndim == 2 and len(set(value.shape)) == 2:
            continue
        np.testing.assert_allclose(value, param.detach().numpy(), rtol=1e-7, atol=1e-7)


def test_a_late_first_refresh_and_a_bad_gradient_keep_their_own_time():
    """A zero gradient waits for one that is not, whatever the matrix's step is."""
    params = torch_steps.parameters(SHAPES)
    optimizer = torch_steps.make("asgo", params, every=EVERY, stagger=True)

    def spoil(step, grads):
        if step in (0, 1):
            grads[2].zero_()
        if step == 5:
            grads[3][0, 0] = torch.inf

    seen = []
    for step in range(STEPS):
        torch_steps.train(optimizer, params, [step], spoil)
        state = optimizer.state_dict()["state"]
        seen.append([float(state[i]["last_refresh"][0]) for i in (2, 3)])
    late, bad = np.array(seen).T
    assert list(late[:3]) == [0, 0, 3]
    assert late[-1] > late[2]
    assert bad[-1] > bad[0] == 1
    assert torch_steps.finite(p.detach() for p in params)
