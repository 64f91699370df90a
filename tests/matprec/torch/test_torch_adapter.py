"""What the torch adapter does whatever the optimizer: groups, closures, storage, what it refuses.

The contract that every optimizer of the registry keeps is in `tests/contract`; here one optimizer
for every way in which a step may go stands for all.
"""

import doctest
import pathlib
import subprocess
import sys
from typing import Any

import optimizers
import pytest
import torch
from torch_steps import gradients, make, parameters, same, train, values

import matprec.torch

names = pytest.mark.parametrize("name", optimizers.REPRESENTATIVES)


# ---------------------------------------- groups and closures


@names
def test_groups_have_their_own_settings(name):
    """Two groups in one optimizer do what two optimizers do."""
    params, twins = parameters(), parameters()
    first: dict[str, Any] = {"lr": 0.3, "weight_decay": 0.0}
    first |= dict.fromkeys(optimizers.decays(name), 0.5)
    second: dict[str, Any] = {"eps": 1e-3}
    if name in optimizers.MATRIX_NAMES:
        second |= {"max_dim": 2, "roles": ["embedding", None, None, None, None]}
    second = optimizers.quick(name, **second)
    together = make(name, [{"params": params[:3]} | first, {"params": params[3:]} | second])
    apart = [make(name, twins[:3], **first), make(name, twins[3:], **second)]
    for step in range(5):
        train(together, params, [step])
        for param, twin in zip(params, twins, strict=True):
            twin.grad = param.grad
        for optimizer in apart:
            optimizer.step()
    assert all(same(params, twins))
    assert len(together.state_dict()["param_groups"]) == 2


@names
def test_add_param_group_after_steps(name):
    params, twins = parameters(), parameters()
    optimizer = make(name, params[:2])
    train(optimizer, params[:2], range(3))
    optimizer.add_param_group({"params": params[2:], "lr": 0.01})
    late, early = make(name, twins[2:], 0.01), make(name, twins[:2])
    train(early, twins[:2], range(3))
    train(optimizer, params, range(3, 6))
    for step in range(3, 6):
        grads = gradients(params, step)
        for twin, grad in zip(twins, grads, strict=True):
            twin.grad = grad
        early.step()
        late.step()
    assert all(same(params, twins))


def bad_groups():
    p = torch.nn.Parameter
    square = torch.ones(3, 3)
    return {
        "lr": ({"params": p(square), "lr": -1.0}, ValueError, "lr=-1.0 must be positive"),
        "beta": ({"params": p(square), "beta2": 2.0}, ValueError, "beta2=2.0 must be in"),
        "layout": ({"params": p(square), "weight_layout": "oi"}, ValueError, "'oi' is not one"),
        "stacks": ({"params": p(square), "stack_bytes": "big"}, ValueError, "'big' must be"),
        "role": ({"params": p(square), "roles": "kernel"}, ValueError, "'kernel' is not one of"),
        "roles": ({"params": p(square), "roles": ["conv"] * 2}, ValueError, "2 roles for 1 par"),
        "complex": ({"params": p(square + 0j)}, TypeError, "complex parameters are not supported"),
    }


@names
@pytest.mark.parametrize("kind", bad_groups())
def test_a_bad_group_leaves_the_optimizer_as_it_was(name, kind):
    group, error, message = bad_groups()[kind]
    with pytest.raises(error, match=message):
        make(name, [group])
    params, twins = parameters(), parameters()
    optimizer, untouched = make(name, params), make(name, twins)
    train(optimizer, params, range(2))
    train(untouched, twins, range(2))
    with pytest.raises(error, match=message):
        optimizer.add_param_group(group)
    with pytest.raises(ValueError, match="more than one"):
        optimizer.add_param_group({"params": params[:1]})
    assert len(optimizer.param_groups) == 1
    train(optimizer, params, range(2, 4))
    train(untouched, twins, range(2, 4))
    assert all(same(params, twins))


@names
def test_closure(name):
    params, twins = parameters(), parameters()
    target = [torch.ones_like(p) for p in params]
    optimizer, plain = make(name, params), make(name, twins)

    def loss_of(tensors):
        losses = [((p - t) ** 2).sum() for p, t in zip(tensors, target, strict=True)]
        return torch.stack(losses).sum()

    def closure():
        optimizer.zero_grad()
        assert torch.is_grad_enabled()
        loss = loss_of(params)
        loss.backward()
        return loss

    for _ in range(3):
        plain.zero_grad()
        expected = loss_of(twins)
        expected.backward()
        plain.step()
        assert torch.equal(optimizer.step(closure), expected)
    assert all(same(params, twins))


# ---------------------------------------- gradients that are missing or sparse


@names
@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(name, set_to_none):
    params = parameters()
    optimizer = make(name, params)
    train(optimizer, params, range(2))
    optimizer.zero_grad(set_to_none=set_to_none)
    before = values(params)
    optimizer.step()
    if set_to_none:
        assert all(same(params, before))
    else:  # momentum and decay go on
        assert same(params, before) == [p.numel() == 0 for p in params]


@names
def test_sparse_gradients_are_refused(name):
    params = parameters([(4, 3)])
    optimizer = make(name, params)
    params[0].grad = torch.ones(4, 3, dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match=r"sparse gradients .* \(parameter \(4, 3\)\)"):
        optimizer.step()


# ---------------------------------------- storage, and against torch's own


@names
def test_parameters_on_strided_storage(name):
    """Transposed, channels-last and sliced parameters, with gradients laid out otherwise."""
    dense, twins = (
        parameters([(4, 3), (2, 3, 2, 2), (5,)]),
        parameters([(4, 3), (2, 3, 2, 2), (5,)]),
    )
    odd = [
        torch.nn.Parameter(dense[0].detach().t().contiguous().t()),
        torch.nn.Parameter(dense[1].detach().to(memory_format=torch.channels_last)),
        torch.nn.Parameter(torch.stack([dense[2].detach()] * 2, 1)[:, 0]),
    ]
    assert not any(p.is_contiguous() for p in odd)
    optimizer, plain = make(name, odd), make(name, twins)
    train(optimizer, odd, range(4))
    train(plain, twins, range(4))
    for mine, twin in zip(odd, twins, strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_torchs(weight_decay):
    params, twins = parameters(), parameters()
    betas: dict[str, Any] = {"beta1": 0.85, "beta2": 0.95, "eps": 1e-6}
    mine = make("nadamw", params, nesterov=False, weight_decay=weight_decay, **betas)
    theirs = torch.optim.AdamW(twins, 0.1, (0.85, 0.95), 1e-6, weight_decay)
    train(mine, params, range(20))
    train(theirs, twins, range(20))
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(param, twin, rtol=1e-12, atol=1e-12)


# ---------------------------------------- what the package shows


def test_named_parameters():
    torch.manual_seed(0)
    model, twin = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    twin.load_state_dict(model.state_dict())
    optimizer = make("asgo", model.named_parameters())
    plain = make("asgo", twin.parameters())
    train(optimizer, list(model.parameters()), range(2))
    train(plain, list(twin.parameters()), range(2))
    assert all(same(model.parameters(), twin.parameters()))


def test_example():
    result = doctest.testmod(matprec.torch)
    assert result.attempted > 4
    assert result.failed == 0


def test_importing_brings_no_jax():
    code = "import sys, matprec.torch; print('jax' in sys.modules, 'matprec.jax' in sys.modules)"
    root = pathlib.Path(matprec.torch.__file__).parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
