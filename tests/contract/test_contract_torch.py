"""The contract of a torch.optim.Optimizer, for every optimizer of the registry."""

import array_api_compat.torch.linalg as xp_linalg
import numpy as np
import optimizers
import pytest
import torch
from torch_steps import (
    finite,
    gradients,
    make,
    parameters,
    same,
    state_arrays,
    train,
    values,
)

names = pytest.mark.parametrize("name", optimizers.NAMES)


@names
def test_a_step_moves_every_parameter(name):
    params = parameters()
    optimizer, before = make(name, params), values(params)
    train(optimizer, params, range(5))
    assert same(params, before) == [p.numel() == 0 for p in params]
    assert finite(params)
    assert finite(state_arrays(optimizer))
    assert optimizer.counters() == {"failed_roots": 0.0, "skipped_updates": 0.0}


@names
def test_zero_gradients_only_decay(name):
    params = parameters()
    optimizer, before = make(name, params), values(params)
    for param in params:
        param.grad = torch.zeros_like(param)
    for _ in range(4):
        optimizer.step()
    whole = name not in optimizers.MATRIX_NAMES
    for param, old in zip(params, before, strict=True):
        is_matrix = param.ndim > 1 and min(param.shape) > 1
        steps = 4 - (optimizers.idle_steps(name) if is_matrix else 0)
        decay = 0.99**steps if whole or param.ndim > 1 else 1.0
        torch.testing.assert_close(param.detach(), old * decay, rtol=1e-13, atol=0)
    assert finite(state_arrays(optimizer))
    assert optimizer.counters() == {"failed_roots": 0.0, "skipped_updates": 0.0}


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_gradients_are_fine(name, dtype):
    """Of rank one, of a single entry, and with a row of zeros."""
    params = parameters([(4, 3), (4, 3), (4, 4), (2, 7)], dtype)
    optimizer, before = make(name, params), values(params)

    def make_singular(step, grads):
        grads[0] = torch.outer(grads[0][:, 0], grads[0][0])
        entry = grads[1][1, 2].item()
        grads[1].zero_()[1, 2] = entry
        grads[2][0] = 0

    train(optimizer, params, range(6), make_singular)
    assert not any(same(params, before))
    assert finite(params)
    assert finite(state_arrays(optimizer))
    assert optimizer.counters() == {"failed_roots": 0.0, "skipped_updates": 0.0}


SCHEDULERS = {
    "LambdaLR": (lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: step / 4), [0, 1, 2]),
    "Cosine": (lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=3), [4, 3, 1, 0]),
}


@names
@pytest.mark.parametrize(("kind", "tensor"), [("LambdaLR", False), ("Cosine", True)])
def test_schedulers(name, kind, tensor):
    """Rates of zero included; a tensor as the rate does the same."""
    params, twins = parameters(), parameters()
    lr = torch.tensor(0.5, dtype=torch.float64) if tensor else 0.5
    optimizer, plain = make(name, params, lr), make(name, twins, 0.5)
    make_scheduler, eighths = SCHEDULERS[kind]
    scheduler, rates = make_scheduler(optimizer), []
    for step in range(len(eighths)):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        plain.param_groups[0]["lr"] = rates[-1]
        before = values(params)
        train(optimizer, params, [step])
        train(plain, twins, [step])
        scheduler.step()
        assert (rates[-1] == 0) == all(same(params, before))
    np.testing.assert_allclose(rates, np.array(eighths) / 8, atol=1e-15)
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(param, twin, rtol=1e-14, atol=1e-14)


# ---------------------------------------- gradients that are missing or not finite


@names
def test_frozen_parameters_are_left_alone(name):
    """And change nothing for the others, which may share a stack with them."""
    params, others = parameters(), parameters()
    frozen = [0, 4]
    rest = [i for i in range(len(params)) if i not in frozen]
    optimizer, plain = make(name, params), make(name, [others[i] for i in rest])
    params[0].requires_grad_(False)
    before, versions = values(params), [params[index]._version for index in frozen]

    def drop(step, grads):
        for index in frozen:
            grads[index] = None

    train(optimizer, params, range(4), drop)
    assert [i for i, s in enumerate(same(params, before)) if s and params[i].numel()] == frozen
    for step in range(4):
        grads = gradients(others, step)
        for index in rest:
            others[index].grad = grads[index]
        plain.step()
    assert all(same([params[i] for i in rest], [others[i] for i in rest]))
    assert optimizer.counters()["skipped_updates"] == 0
    assert [params[index]._version for index in frozen] == versions  # not even written to
    optimizer.zero_grad()
    moved = values(params)
    optimizer.step()  # no gradient at all
    assert all(same(params, moved))


@names
def test_a_parameter_that_joins_late_is_as_if_alone(name):
    """Its bias correction and its first refresh are its own."""
    params, fresh = parameters([(4, 3), (3,)]), parameters([(4, 3), (3,)])
    optimizer, plain = make(name, params, every=1), make(name, fresh[:1], every=1)

    def drop(step, grads):
        if step < 3:
            grads[0] = None

    train(optimizer, params, range(6), drop)
    for step in range(3, 6):
        fresh[0].grad = gradients(params, step)[0]
        plain.step()
    assert torch.equal(params[0], fresh[0])


@names
@pytest.mark.parametrize(("index", "bad"), [(0, np.nan), (2, np.inf), (4, 1e200), (5, -np.inf)])
def test_a_bad_gradient_freezes_its_tensor_alone(name, index, bad):
    """And leaves no trace: later it is as if that step had not been, elsewhere as if it had."""
    params, skipping, clean = parameters(), parameters(), parameters()
    optimizer, before = make(name, params, every=1), []

    def spoil(step, grads):
        if step == 2:
            grads[index].view(-1)[-1] = bad
            before.extend(values(params))

    train(optimizer, params, range(3), spoil)
    assert torch.equal(params[index], before[index])
    train(optimizer, params, [3, 4])
    assert optimizer.counters() == {"failed_roots": 0, "skipped_updates": 1}
    train(make(name, skipping, every=1), skipping, [0, 1, 3, 4])
    train(make(name, clean, every=1), clean, range(5))
    assert torch.equal(params[index], skipping[index])
    others = [i for i in range(len(params)) if i != index]
    assert all(same([params[i] for i in others], [clean[i] for i in others]))


@pytest.mark.parametrize("name", optimizers.MATRIX_NAMES)
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


@pytest.mark.parametrize("name", optimizers.REFRESHING_NAMES)
def test_a_factorisation_that_gives_up_keeps_roots_and_bases(name, monkeypatch):
    params = parameters([(4, 3), (3,)])
    optimizer = make(name, params, every=1)
    train(optimizer, params, range(3))
    earlier = optimizer.state_dict()["state"][0]

    def give_up(*args, **kwargs):
        raise torch.linalg.LinAlgError("no convergence")  # type: ignore[attr-defined]

    for function in ("eigh", "svd", "qr"):
        monkeypatch.setattr(xp_linalg, function, give_up)
    monkeypatch.setattr(torch, "geqrf", give_up)
    before = values(params)
    train(optimizer, params, [3])
    assert not any(same(params, before))
    assert finite(params)
    state = optimizer.state_dict()["state"][0]
    kept = [key for key in state if key.endswith(("root", "_basis"))]
    assert kept
    assert all(torch.equal(state[key][0], earlier[key][0]) for key in kept)
    assert [float(state[key][0]) for key in ("t", "last_refresh", "failed_roots")] == [4, 3, 1]


# ---------------------------------------- dtypes, roles, models


@names
def test_half_precision_over_float32_state(name):
    params = parameters(dtype=torch.bfloat16)
    wide = [torch.nn.Parameter(p.detach().float()) for p in params]
    optimizer, reference = make(name, params), make(name, wide)
    for step in range(4):
        grads = gradients(params, step)
        for p, w, g in zip(params, wide, grads, strict=True):
            p.grad, w.grad = g, g.float()
            w.data.copy_(p.detach())
        optimizer.step()
        reference.step()
        for p, w in zip(params, wide, strict=True):
            assert p.dtype == torch.bfloat16
            torch.testing.assert_close(p.float(), w, rtol=2**-8, atol=2**-8)
    assert {x.dtype for x in state_arrays(optimizer)} == {torch.float32}


@names
def test_mixed_dtypes_and_wider_state(name):
    shapes = [(4, 3), (4, 3), (3,)]
    params = parameters(shapes) + parameters(shapes, torch.float16)
    for state_dtype, expected in (
        (None, {torch.float64, torch.float32}),
        (torch.float64, {torch.float64}),
    ):
        optimizer, before = make(name, params, state_dtype=state_dtype), values(params)
        train(optimizer, params, range(2))
        assert not any(same(params, before))
        assert finite(params)
        assert {x.dtype for x in state_arrays(optimizer)} == expected


@pytest.mark.parametrize("name", optimizers.MATRIX_NAMES)
@pytest.mark.parametrize("head", [None, False, True])
def test_roles_send_parameters_to_the_fallback(name, head):
    """Embeddings always; output layers unless they are preconditioned, which has its default."""
    params, twins = parameters([(4, 3), (4, 3)]), parameters([(4, 3), (4, 3)])
    settings = {} if head is None else {"precondition_head": head}
    head = optimizers.defaults(name)["precondition_head"] if head is None else head
    optimizer = make(name, params, roles=["embedding", "head"], fallback_lr_scale=0.5, **settings)
    train(optimizer, params, range(4))
    train(make("nadamw", twins, 0.05), twins, range(4))
    close = [
        torch.allclose(p, q, rtol=1e-13, atol=1e-13) for p, q in zip(params, twins, strict=True)
    ]
    assert close == [True, not head]


class Net(torch.nn.Module):
    """A convolution, a norm, two linear layers of one shape and a head."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 4, 3), torch.nn.LayerNorm(16)
        self.first, self.second = torch.nn.Linear(16, 16), torch.nn.Linear(16, 16)
        self.head = torch.nn.Linear(16, 2)

    def forward(self, x):
        x = self.norm(self.conv(x).flatten(1))
        return self.head(x + torch.tanh(self.second(torch.tanh(self.first(x)))))


@pytest.fixture(scope="module")
def compiled():
    """A compiled model, which all optimizers train from the same start, and that start.

    `aot_eager` traces forward and backward passes without a compiler for the machine.
    """
    torch.manual_seed(0)
    net = Net()
    return torch.compile(net, backend="aot_eager"), {
        k: v.clone() for k, v in net.state_dict().items()
    }


@names
def test_a_compiled_model_trains_like_the_plain_one(name, compiled):
    model, start = compiled
    plain = Net()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 1, 4, 4, generator=generator)
    y = (x.sum((1, 2, 3)) > 0).long()
    losses = []
    for net in (model, plain):
        getattr(net, "_orig_mod", net).load_state_dict(start)
        optimizer = make(name, net.named_parameters(), 0.03, weight_decay=0.0)
        losses.append([])
        for _ in range(25):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert all(key.startswith("_orig_mod.") for key, _ in model.named_parameters())
    np.testing.assert_allclose(*losses, rtol=1e-3)
    assert losses[0][-1] < 0.5 * losses[0][0]


@names
def test_documentation(name):
    cls = optimizers.torch_class(name)
    assert cls.__name__ == optimizers.ALGORITHMS[name].__name__
    for part in ("U_t", "Args:", "lr:", "weight_decay:", "Raises:", "state_dtype:"):
        assert part in cls.__doc__
