"""State dicts: training goes on bit for bit, whatever way the state took."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch

import matprec.torch

NAMES = ["ASGO", "Shampoo", "NAdamW"]
SHAPES = [(4, 3), (4, 3), (4, 3), (3,), (1, 5), (2, 3, 2, 2), (), (0, 3), (6, 2)]
ROLES = [None] * 8 + ["fused_qkv"]
names = pytest.mark.parametrize("name", NAMES)


def parameters(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in SHAPES]


def make(name, params, lr: Any = 0.1, **settings: Any):
    """Refreshes at steps 1, 5, 9, ...; blocks, so that parameters have several matrices."""
    defaults: dict[str, Any] = {"weight_decay": 0.1, "roles": ROLES}
    if name != "NAdamW":
        defaults |= {"refresh_every": 4, "block_size": 2 if name == "Shampoo" else None}
    return getattr(matprec.torch, name)(params, lr, **defaults | settings)


def train(optimizer, params, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(1000 + step)
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        optimizer.step()


def clones(params):
    return [torch.nn.Parameter(param.detach().clone()) for param in params]


def assert_same(params, others):
    for param, other in zip(params, others, strict=True):
        assert torch.equal(param, other)


def through_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_same_state(state, other):
    """Every array of the state and the counts, bit for bit and with their dtypes."""
    assert [g["count"] for g in state["param_groups"]] == [
        g["count"] for g in other["param_groups"]
    ]
    assert state["state"].keys() == other["state"].keys()
    for index, tensor in state["state"].items():
        assert tensor.keys() == other["state"][index].keys()
        for key, arrays in tensor.items():
            for x, y in zip(arrays, other["state"][index][key], strict=True):
                assert torch.equal(x, y)
                assert x.dtype == y.dtype


DTYPES = [torch.float64, torch.float32, torch.bfloat16]
WAYS = {"directly": lambda state: state, "torch.save": through_file, "deepcopy": copy.deepcopy}


@names
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_training_goes_on_bit_for_bit(name, dtype, way):
    """Saved in the middle of a refresh period, then ten more steps."""
    params = parameters(dtype)
    optimizer = make(name, params)
    train(optimizer, params, range(6))
    copies = clones(params)
    other = make(name, copies, lr=7.0, eps=1e-3)
    other.load_state_dict(WAYS[way](optimizer.state_dict()))
    for group in other.param_groups:
        assert group["lr"] == 0.1
    train(optimizer, params, range(6, 16))
    train(other, copies, range(6, 16))
    assert_same(params, copies)
    assert all(torch.isfinite(param).all() for param in params)


@names
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack_bytes", [1, 200, None])
def test_other_stacks_hold_the_same_state(name, dtype, stack_bytes):
    """The state bit for bit; steps up to rounding, which differs between batched products."""
    params = parameters(dtype)
    optimizer = make(name, params)
    train(optimizer, params, range(6))
    state = optimizer.state_dict()
    groups = [group | {"stack_bytes": stack_bytes} for group in state["param_groups"]]
    copies = clones(params)
    other = make(name, copies)
    other.load_state_dict(state | {"param_groups": groups})
    assert_same_state(other.state_dict(), state)
    train(optimizer, params, [6, 7])
    train(other, copies, [6, 7])
    tolerance = 1e-10 if dtype == torch.float64 else 0.01
    for param, twin in zip(params, copies, strict=True):
        torch.testing.assert_close(param, twin, rtol=tolerance, atol=tolerance)


@names
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]
)
def test_copies_of_the_optimizer_itself(name, duplicate):
    params = parameters()
    optimizer = make(name, params)
    train(optimizer, params, range(3))
    copies, other = duplicate((params, optimizer))
    train(optimizer, params, range(3, 9))
    train(other, copies, range(3, 9))
    assert_same(params, copies)


@names
def test_contents(name):
    params = parameters(torch.bfloat16)
    optimizer = make(name, params)
    state = optimizer.state_dict()
    assert state["state"] == {}
    assert [group["count"] for group in state["param_groups"]] == [0]
    train(optimizer, params, range(2))
    state = optimizer.state_dict()
    assert [group["count"] for group in state["param_groups"]] == [2]
    assert set(state["state"]) == set(range(9))
    matrices = {"ASGO": 1, "Shampoo": 4, "NAdamW": 1}[name]  # (4, 3) in blocks of two
    assert {len(arrays) for arrays in state["state"][0].values()} == {matrices}
    assert state["state"][7] == {}  # no elements
    parts = {"ASGO": 3, "Shampoo": 3, "NAdamW": 1}[name]  # fused (6, 2)
    assert len(state["state"][8]["t"]) == parts
    for tensor in state["state"].values():
        for arrays in tensor.values():
            for x in arrays:
                assert x.dtype == torch.float32
                assert x.untyped_storage().nbytes() == 4 * x.numel()


@names
def test_dicts_share_no_memory_with_the_optimizers(name):
    params = parameters()
    optimizer = make(name, params)
    train(optimizer, params, range(2))
    state = optimizer.state_dict()
    frozen = copy.deepcopy(state)
    train(optimizer, params, range(2, 7))
    other = make(name, clones(params))
    other.load_state_dict(state)
    train(other, parameters(), range(2))
    assert_same_state(state, frozen)


@names
def test_loading_replaces_what_was_there(name):
    """State, count and hyperparameters, for groups that have taken steps and for new ones."""
    params = parameters()
    optimizer = make(name, [{"params": params[:2], "roles": None}])
    train(optimizer, params[:2], range(3))
    optimizer.add_param_group({"params": params[2:6], "roles": None, "lr": 0.02})
    state = optimizer.state_dict()
    assert [group["count"] for group in state["param_groups"]] == [3, 0]

    copies = clones(params)
    groups = [{"params": copies[:2], "roles": None}, {"params": copies[2:6], "roles": None}]
    other = make(name, groups)
    values = [param.detach().clone() for param in copies]
    train(other, copies[:6], range(50, 55))
    with torch.no_grad():
        for param, value in zip(copies, values, strict=True):
            param.copy_(value)
    other.load_state_dict(state)
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.02]
    assert all("count" not in group for group in other.param_groups)
    train(optimizer, params[:6], range(3, 9))
    train(other, copies[:6], range(3, 9))
    assert_same(params, copies)


@names
def test_schedulers_go_on(name):
    def scheduler_of(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)

    def go(optimizer, scheduler, params, steps):
        for step in steps:
            train(optimizer, params, [step])
            scheduler.step()

    params = parameters()
    optimizer = make(name, params)
    scheduler = scheduler_of(optimizer)
    go(optimizer, scheduler, params, range(3))
    copies = clones(params)
    other = make(name, copies)
    follower = scheduler_of(other)
    other.load_state_dict(optimizer.state_dict())
    follower.load_state_dict(scheduler.state_dict())
    go(optimizer, scheduler, params, range(3, 7))
    go(other, follower, copies, range(3, 7))
    assert_same(params, copies)


@names
def test_state_dtype_survives_a_file(name):
    params = parameters(torch.float32)
    optimizer = make(name, params, state_dtype=torch.float64)
    train(optimizer, params, range(2))
    copies = clones(params)
    other = make(name, copies)
    other.load_state_dict(through_file(optimizer.state_dict()))
    train(optimizer, params, range(2, 6))
    train(other, copies, range(2, 6))
    assert_same(params, copies)
    assert_same_state(other.state_dict(), optimizer.state_dict())
    assert {x.dtype for x in other.state_dict()["state"][0]["t"]} == {torch.float64}


def test_what_does_not_fit_is_refused():
    params = parameters()
    optimizer = make("Shampoo", params)
    train(optimizer, params, range(2))
    state = optimizer.state_dict()
    fewer = make("Shampoo", clones(params)[:3], roles=None)
    with pytest.raises(ValueError, match="size of optimizer's group"):
        fewer.load_state_dict(state)
    groups = [group | {"block_size": 3} for group in state["param_groups"]]
    with pytest.raises(ValueError, match=r"has 4 matrices where the layout has 2: .* block_size"):
        make("Shampoo", clones(params)).load_state_dict(state | {"param_groups": groups})
    copies = clones(params)
    adamw = torch.optim.AdamW(copies)
    train(adamw, copies, range(2))
    unlike = make("NAdamW", params)
    with pytest.raises(ValueError, match="not a state dict of a matprec optimizer"):
        unlike.load_state_dict(adamw.state_dict())
    train(unlike, params, range(2))
