"""The contract of a torch.optim.Optimizer, for every optimizer of `matprec.torch`."""

import doctest
import inspect
import pathlib
import subprocess
import sys
from typing import Any

import array_api_compat.torch.linalg as xp_linalg
import numpy as np
import pytest
import torch

import matprec.torch
from matprec import algorithms

NAMES = ["ASGO", "Shampoo", "NAdamW"]
MATRIX_NAMES = ["ASGO", "Shampoo"]
SHAPES = [(4, 3), (4, 3), (3,), (1, 5), (2, 3, 2, 2), (), (0, 3), (1, 1)]
names = pytest.mark.parametrize("name", NAMES)


def parameters(shapes=SHAPES, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def make(name, params, lr: Any = 0.1, **settings: Any):
    defaults = {"weight_decay": 0.1} | ({} if name == "NAdamW" else {"refresh_every": 3})
    return getattr(matprec.torch, name)(params, lr, **defaults | settings)


def gradients(params, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    return [torch.randn(p.shape, generator=generator).to(p.dtype) for p in params]


def train(optimizer, params, steps, spoil=lambda step, grads: None):
    """Steps with the gradients of the given numbers, which `spoil` may change."""
    for step in steps:
        grads = gradients(params, step)
        spoil(step, grads)
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        optimizer.step()


def values(params):
    return [param.detach().clone() for param in params]


def same(params, others):
    """Which tensors are equal bit for bit."""
    return [torch.equal(p.detach(), q.detach()) for p, q in zip(params, others, strict=True)]


# ---------------------------------------- steps, groups, closures, schedulers


@names
def test_a_step_moves_every_parameter(name):
    params = parameters()
    optimizer, before = make(name, params), values(params)
    train(optimizer, params, range(5))
    assert same(params, before) == [p.numel() == 0 for p in params]
    assert all(torch.isfinite(p).all() for p in params)
    assert optimizer.counters() == {"failed_roots": 0.0, "skipped_updates": 0.0}


@names
def test_groups_have_their_own_settings(name):
    """Two groups in one optimizer do what two optimizers do."""
    params, twins = parameters(), parameters()
    first: dict[str, Any] = {"lr": 0.3, "beta1": 0.5, "weight_decay": 0.0}
    second: dict[str, Any] = {"beta2": 0.7}
    if name != "NAdamW":
        second |= {"max_dim": 2, "roles": ["embedding", None, None, None, None], "refresh_every": 2}
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


SCHEDULERS = {
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: step / 4),
    "CosineAnnealingLR": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=3),
}


@names
@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("tensor", [False, True], ids=["float", "tensor"])
def test_schedulers(name, kind, tensor):
    """Rates of zero at either end included; a tensor as the rate does the same."""
    params, twins = parameters(), parameters()
    lr = torch.tensor(0.5, dtype=torch.float64) if tensor else 0.5
    optimizer, plain = make(name, params, lr), make(name, twins, 0.5)
    scheduler = SCHEDULERS[kind](optimizer)
    rates = []
    for step in range(4):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        plain.param_groups[0]["lr"] = rates[-1]
        before = values(params)
        train(optimizer, params, [step])
        train(plain, twins, [step])
        scheduler.step()
        assert (rates[-1] == 0) == all(same(params, before))
    expected = [0, 1, 2, 3] if kind == "LambdaLR" else [4, 3, 1, 0]
    np.testing.assert_allclose(rates, np.array(expected) / 8, atol=1e-15)
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(param, twin, rtol=1e-14, atol=1e-14)


# ---------------------------------------- gradients that are missing or not finite


@names
def test_frozen_parameters_are_left_alone(name):
    params, others = parameters(), parameters()
    optimizer, plain = make(name, params), make(name, others[1:4] + others[5:])
    frozen = [0, 4]
    params[0].requires_grad_(False)
    before, versions = values(params), [params[index]._version for index in frozen]

    def drop(step, grads):
        for index in frozen:
            grads[index] = None

    train(optimizer, params, range(4), drop)
    assert [i for i, s in enumerate(same(params, before)) if s and params[i].numel()] == frozen
    for step in range(4):
        grads = gradients(params, step)
        for index in set(range(len(params))) - set(frozen):
            others[index].grad = grads[index]
        plain.step()
    rest = [i for i in range(len(params)) if i not in frozen]
    assert all(same([params[i] for i in rest], [others[i] for i in rest]))
    assert optimizer.counters()["skipped_updates"] == 0
    assert [params[index]._version for index in frozen] == versions  # not even written to
    optimizer.zero_grad()
    moved = values(params)
    optimizer.step()  # no gradient at all
    assert all(same(params, moved))


@names
def test_a_parameter_that_joins_late_starts_its_own_bias_correction(name):
    params, fresh = parameters([(4, 3), (3,)]), parameters([(4, 3), (3,)])
    settings = {} if name == "NAdamW" else {"refresh_every": 1}
    optimizer, plain = make(name, params, **settings), make(name, fresh[:1], **settings)

    def drop(step, grads):
        if step < 3:
            grads[0] = None

    train(optimizer, params, range(6), drop)
    for step in range(3, 6):
        fresh[0].grad = gradients(params, step)[0]
        plain.step()
    assert torch.equal(params[0], fresh[0])


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
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("index", [0, 2, 4, 5])
def test_a_bad_gradient_freezes_its_tensor_alone(name, bad, index):
    """And leaves no trace: later it is as if that step had not been, elsewhere as if it had."""
    settings = {} if name == "NAdamW" else {"refresh_every": 1}
    params, skipping, clean = parameters(), parameters(), parameters()
    optimizer = make(name, params, **settings)
    before = []

    def spoil(step, grads):
        if step == 2:
            grads[index].view(-1)[-1] = bad
            before.extend(values(params))

    train(optimizer, params, range(3), spoil)
    assert torch.equal(params[index], before[index])
    train(optimizer, params, [3, 4])
    assert optimizer.counters() == {"failed_roots": 0, "skipped_updates": 1}
    train(make(name, skipping, **settings), skipping, [0, 1, 3, 4])
    train(make(name, clean, **settings), clean, range(5))
    assert torch.equal(params[index], skipping[index])
    others = [i for i in range(len(params)) if i != index]
    assert all(same([params[i] for i in others], [clean[i] for i in others]))


@pytest.mark.parametrize("name", MATRIX_NAMES)
def test_a_bad_entry_freezes_all_blocks(name):
    params = parameters([(4, 5)])
    optimizer = make(name, params, block_size=2)
    train(optimizer, params, range(2))
    before, state = values(params), optimizer.state_dict()["state"]
    params[0].grad = torch.ones(4, 5, dtype=torch.float64)
    params[0].grad[0, 0] = np.nan
    optimizer.step()
    assert all(same(params, before))
    after = optimizer.state_dict()["state"]
    for key in state[0].keys() - {"skipped_updates"}:
        assert all(same(after[0][key], state[0][key]))
    assert [float(x) for x in after[0]["skipped_updates"]] == [1] * 6


@names
def test_a_single_precision_square_that_overflows_is_skipped(name):
    params = parameters([(4, 3)], torch.float32)
    optimizer, before = make(name, params), values(params)
    params[0].grad = torch.full((4, 3), 1e30)
    optimizer.step()
    assert all(same(params, before))
    assert optimizer.counters()["skipped_updates"] == 1


def test_an_eigensolver_that_gives_up_keeps_the_roots(monkeypatch):
    params = parameters([(4, 3), (3,)])
    optimizer = make("ASGO", params, refresh_every=1)
    train(optimizer, params, range(2))
    roots = optimizer.state_dict()["state"][0]["root"]

    def give_up(*args, **kwargs):
        raise torch.linalg.LinAlgError("no convergence")  # type: ignore[attr-defined]

    monkeypatch.setattr(xp_linalg, "eigh", give_up)
    before = values(params)
    train(optimizer, params, [2])
    assert not any(same(params, before))
    state = optimizer.state_dict()["state"][0]
    assert torch.equal(state["root"][0], roots[0])
    assert (float(state["last_refresh"][0]), float(state["failed_roots"][0])) == (2, 1)


@names
def test_sparse_gradients_are_refused(name):
    params = parameters([(4, 3)])
    optimizer = make(name, params)
    params[0].grad = torch.ones(4, 3, dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match=r"sparse gradients .* \(parameter \(4, 3\)\)"):
        optimizer.step()


# ---------------------------------------- storage, dtypes, roles, against torch's own


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


@names
def test_half_precision_over_float32_state(name):
    params, wide = parameters(dtype=torch.bfloat16), parameters(dtype=torch.bfloat16)
    wide = [torch.nn.Parameter(p.detach().float()) for p in wide]
    optimizer = make(name, params, eps=1e-3)
    train(optimizer, params, range(3))
    assert all(p.dtype == torch.bfloat16 for p in params)
    state = optimizer.state_dict()["state"]
    dtypes = {x.dtype for s in state.values() for arrays in s.values() for x in arrays}
    assert dtypes == {torch.float32}
    reference = make(name, wide, eps=1e-3)
    for step in range(3):
        for p, g in zip(wide, gradients(params, step), strict=True):
            p.grad = g.float()
        reference.step()
    for p, w in zip(params, wide, strict=True):
        torch.testing.assert_close(p.float(), w, rtol=0.02, atol=0.02)


@names
def test_mixed_dtypes_and_wider_state(name):
    shapes = [(4, 3), (4, 3), (3,)]
    params = [
        p for dtype in (torch.float64, torch.float16) for p in parameters(shapes, dtype=dtype)
    ]
    optimizer, before = make(name, params, state_dtype=torch.float64), values(params)
    train(optimizer, params, range(2))
    assert not any(same(params, before))
    state = optimizer.state_dict()["state"]
    assert {x.dtype for s in state.values() for arrays in s.values() for x in arrays} == {
        torch.float64
    }


def test_roles_send_parameters_to_the_fallback():
    params, twins = parameters([(4, 3), (4, 3)]), parameters([(4, 3), (4, 3)])
    optimizer = make("ASGO", params, roles=["embedding", "head"], fallback_lr_scale=0.5)
    plain = make("NAdamW", twins, 0.05)
    train(optimizer, params, range(4))
    train(plain, twins, range(4))
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(param, twin, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_torchs(weight_decay):
    params, twins = parameters(), parameters()
    betas = {"beta1": 0.85, "beta2": 0.95, "eps": 1e-6}
    mine = make("NAdamW", params, nesterov=False, weight_decay=weight_decay, **betas)
    theirs = torch.optim.AdamW(twins, 0.1, (0.85, 0.95), 1e-6, weight_decay)
    train(mine, params, range(20))
    train(theirs, twins, range(20))
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(param, twin, rtol=1e-12, atol=1e-12)


@names
def test_it_trains_a_model_under_autograd(name):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2)
    )
    optimizer = make(name, model.parameters(), 0.02, weight_decay=0.0)
    x = torch.randn(16, 1, 4, 4)
    y = (x.sum((1, 2, 3)) > 0).long()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# ---------------------------------------- what the package shows


def test_named_parameters():
    torch.manual_seed(0)
    model, twin = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    twin.load_state_dict(model.state_dict())
    optimizer = make("ASGO", model.named_parameters())
    plain = make("ASGO", twin.parameters())
    train(optimizer, list(model.parameters()), range(2))
    train(plain, list(twin.parameters()), range(2))
    assert all(same(model.parameters(), twin.parameters()))


@names
def test_documentation(name):
    documentation = inspect.getdoc(getattr(matprec.torch, name)) or ""
    for part in ("U_t", "Args:", "lr:", "weight_decay:", "Raises:", "state_dtype:"):
        assert part in documentation
    assert matprec.torch.BY_ALGORITHM[getattr(algorithms, name)].__name__ == name


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
