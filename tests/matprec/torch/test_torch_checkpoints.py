"""State dicts: training goes on bit for bit, whatever way the state took."""

import copy
import io
import pickle
from typing import Any

import optimizers
import pytest
import torch
import torch_steps
from torch_steps import train

SHAPES = [(4, 3), (4, 3), (4, 3), (3,), (1, 5), (2, 3, 2, 2), (), (0, 3), (6, 2)]
ROLES = [None] * 8 + ["fused_qkv"]
names = pytest.mark.parametrize("name", optimizers.NAMES)


def parameters(dtype=torch.float64):
    return torch_steps.parameters(SHAPES, dtype)


def block_size(name):
    """Blocks, so that parameters have several matrices, where the method comes with blocks."""
    return 2 if optimizers.defaults(name).get("block_size") else None


def make(name, params, lr: Any = 0.1, **settings: Any):
    """Refreshes at steps 1, 5, 9, ..., so that step 6 is in the middle of a period."""
    settings = {"roles": ROLES} | settings
    if block_size(name):
        settings = {"block_size": block_size(name)} | settings
    return torch_steps.make(name, params, lr, every=4, **settings)


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


WAYS = {"directly": lambda state: state, "deepcopy": copy.deepcopy, "file": through_file}


@names
@pytest.mark.parametrize(
    ("way", "dtype"),
    [("directly", torch.float64), ("deepcopy", torch.float32), ("file", torch.bfloat16)],
)
def test_training_goes_on_bit_for_bit(name, way, dtype):
    """Saved in the middle of a refresh period, then ten more steps."""
    params = parameters(dtype)
    optimizer = make(name, params)
    train(optimizer, params, range(6))
    copies = clones(params)
    other = make(name, copies, lr=7.0, **dict.fromkeys(optimizers.decays(name), 0.1))
    saved = optimizer.state_dict()
    other.load_state_dict(WAYS[way](saved))
    assert other.param_groups[0]["lr"] == 0.1
    assert_same_state(other.state_dict(), saved)
    train(optimizer, params, range(6, 16))
    train(other, copies, range(6, 16))
    assert_same(params, copies)
    assert_same_state(other.state_dict(), optimizer.state_dict())
    assert all(torch.isfinite(param).all() for param in params)


@names
@pytest.mark.parametrize(
    ("stack_bytes", "dtype"), [(1, torch.bfloat16), (200, torch.float64), (None, torch.float32)]
)
def test_other_stacks_hold_the_same_state(name, stack_bytes, dtype):
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
    matrices = 4 if block_size(name) else 1  # (4, 3) in blocks of two
    assert {len(arrays) for arrays in state["state"][0].values()} == {matrices}
    assert state["state"][7] == {}  # no elements
    parts = 3 if name in optimizers.MATRIX_NAMES else 1  # fused (6, 2)
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
    optimizer = make("shampoo", params)
    train(optimizer, params, range(2))
    state = optimizer.state_dict()
    fewer = make("shampoo", clones(params)[:3], roles=None)
    with pytest.raises(ValueError, match="size of optimizer's group"):
        fewer.load_state_dict(state)
    for block_size in (3, None):
        other = make("shampoo", clones(params), block_size=block_size)
        with pytest.raises(ValueError, match=r"with block_size=\d+, not (3|None): its blocks are"):
            other.load_state_dict(state)
        assert other.param_groups[0]["block_size"] == block_size
    for name in ("asgo", "caspr", "nadamw"):
        with pytest.raises(ValueError, match="a state dict of Shampoo, not of "):
            make(name, clones(params)).load_state_dict(state)
    copies = clones(params)
    adamw = torch.optim.AdamW(copies)
    train(adamw, copies, range(2))
    unlike = make("nadamw", params)
    with pytest.raises(ValueError, match="a state dict of another optimizer, not of NAdamW"):
        unlike.load_state_dict(adamw.state_dict())
    train(unlike, params, range(2))


@pytest.mark.parametrize("name", optimizers.MATRIX_NAMES)
@pytest.mark.parametrize("settings", [{"block_size": 8}, {"block_size": 10, "max_dim": 8}], ids=str)
def test_blocks_of_one_tensor_may_keep_different_things(name, settings):
    """Wide, tall and square blocks; some of them with a side longer than max_dim."""
    settings = optimizers.quick(name, **settings)
    shapes = ((15, 8), (15, 11), (8, 15))
    params = [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    optimizer = optimizers.torch_class(name)(params, **settings)
    train(optimizer, params, range(3))
    copies = clones(params)
    twin = optimizers.torch_class(name)(copies, **settings)
    twin.load_state_dict(through_file(optimizer.state_dict()))
    train(optimizer, params, range(3, 6))
    train(twin, copies, range(3, 6))
    assert_same(params, copies)
