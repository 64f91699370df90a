"""What each of two PyTorch ranks does in the tests of `shard="all"`.

`main` writes rank<R>.pt into a folder: per case what `Results` says, and what `others` returns.
"""

import copy
import dataclasses
import itertools
import pickle
from pathlib import Path
from typing import Any

import optimizers
import torch
import torch.distributed as dist
import torch_shards as shards
import torch_steps
from torch_shards import EVERY, SHAPES, SINGLE

STEPS, MIDDLE = 10, 4
FAILURE = 6  # a step with a scheduled refresh, after MIDDLE; steps count from 0 here
WIDE = [(70_000,), (3, 4), (4, 3), (30_000, 3)]  # large enough for steps in blocks


@dataclasses.dataclass(frozen=True)
class Case:
    """An optimizer and its parameters; `groups` gives every one of these a group of its own."""

    name: str
    settings: tuple[tuple[str, Any], ...] = ()
    shapes: tuple[Any, ...] = tuple(SHAPES)
    dtypes: tuple[torch.dtype, ...] = (torch.float64,)
    groups: bool = False

    def make(self, **settings: Any) -> tuple[list[Any], Any]:
        params = torch_steps.parameters(self.shapes, torch.float64)
        for param, dtype in zip(params, itertools.cycle(self.dtypes), strict=False):
            param.data = param.data.to(dtype)
        groups = [{"params": [param]} for param in params] if self.groups else params
        settings = {"shard": "all"} | dict(self.settings) | settings
        return params, torch_steps.make(self.name, groups, every=EVERY, **settings)

    def train(self, optimizer: Any, params: list[Any], first: int, last: int) -> None:
        torch_steps.train(optimizer, params, range(first, last), self._spoil)

    def _spoil(self, step: int, grads: list[Any]) -> None:
        """A first refresh that is late, a gradient that is not finite, and one that is missing."""
        if step in (0, 1):
            grads[3].zero_()
        if step == 5:
            grads[1][0, 0] = torch.nan
        if step in (2, 7):
            grads[2] = None

    def resumed(self, start: Any, **settings: Any) -> tuple[list[Any], Any]:
        """As another run has left them, (state dict, parameters)."""
        params, optimizer = self.make(**settings)
        optimizer.load_state_dict(start[0])
        for param, value in zip(params, start[1], strict=True):
            param.data.copy_(value)
        return params, optimizer


CASES = {name: Case(name) for name in optimizers.NAMES} | {
    "staggered": Case("soap", (("stagger", True),)),
    "blocks": Case("shampoo", (("block_size", 2),)),
    "roles": Case("caspr", (("roles", (None, None, "vector", *[None] * 7, "fused_qkv")),)),
    "many groups": Case("asgo", groups=True),
    "two dtypes": Case("kl_shampoo", dtypes=(torch.float32, torch.float64)),
    "half precision": Case("muon", dtypes=(torch.bfloat16,)),
    "large": Case("soap", shapes=tuple(WIDE)),
}


@dataclasses.dataclass
class Results:
    """Parameters, and states as `state_dict` gives them.

    Attributes:
      params: after STEPS steps.
      own: state dict after them.
      whole: the same after `gather_state`.
      middle: state dict and parameters after MIDDLE steps, gathered, then taken by rank 0 alone.
      resumed, refreshed: parameters after all steps, the first MIDDLE of which one process has
        done; the others with `shard` "all" and "refresh".
      collectives: how often ranks spoke to each other in steps.
    """

    params: list[torch.Tensor]
    own: dict[str, Any]
    whole: dict[str, Any]
    middle: Any
    resumed: list[torch.Tensor]
    refreshed: list[torch.Tensor]
    collectives: int


def run(case: Case, start: Any, calls: list[str]) -> Results:
    params, optimizer = case.make()
    before = len(calls)
    case.train(optimizer, params, 0, MIDDLE)
    spoken = len(calls) - before
    optimizer.gather_state()
    middle = None
    if dist.get_rank() == 0:
        middle = optimizer.state_dict(), torch_steps.values(params)
    before = len(calls)
    case.train(optimizer, params, MIDDLE, STEPS)
    spoken += len(calls) - before
    own = optimizer.state_dict()
    optimizer.gather_state()
    found = []
    for shard in ("all", "refresh"):
        others, other = case.resumed(start, shard=shard)
        case.train(other, others, MIDDLE, STEPS)
        found.append(torch_steps.values(others))
    values = torch_steps.values(params)
    return Results(values, own, optimizer.state_dict(), middle, *found, spoken)


def failing(start: Any) -> Any:
    """A state dict and parameters after a refresh in which LAPACK gives up on rank 1."""
    case = CASES["shampoo"]
    params, optimizer = case.resumed(start)
    case.train(optimizer, params, MIDDLE, FAILURE)
    gives_up = dist.get_rank() == 1
    with shards.Patched(lambda original: shards.give_up if gives_up else original):
        case.train(optimizer, params, FAILURE, FAILURE + 1)
    optimizer.gather_state()
    return optimizer.state_dict(), torch_steps.values(params)


def copied() -> list[Any]:
    """Parameters of copies of an optimizer and of itself, which take the same steps."""
    case = CASES["soap"]
    pair = case.make()
    case.train(pair[1], pair[0], 0, 2)
    found = []
    for params, optimizer in (copy.deepcopy(pair), pickle.loads(pickle.dumps(pair)), pair):
        case.train(optimizer, params, 2, 5)
        found.append(torch_steps.values(params))
    return found


def growing() -> dict[str, Any]:
    """Groups of equal matrices, one of which is added after a step; the owned ones of each."""
    params = torch_steps.parameters([(4, 3)] * 8)
    groups = [{"params": [params[0]]}, {"params": params[1:3]}, {"params": [params[3]]}]
    optimizer = torch_steps.make("asgo", groups, shard="all")
    torch_steps.train(optimizer, params[:4], [0])
    optimizer.add_param_group({"params": params[4:7]})
    optimizer.add_param_group({"params": [params[7]]})
    for param in params:
        param.grad = None
    optimizer.step()
    torch_steps.train(optimizer, params, [1])
    return {"states": sorted(optimizer.state_dict()["state"]), "params": torch_steps.values(params)}


def single() -> list[Any]:
    """Of an optimizer with one parameter, which one rank has nothing to do for."""
    params = torch_steps.parameters([(4, 3)])
    optimizer = torch_steps.make("asgo", params, shard="all")
    torch_steps.train(optimizer, params, [0, 1])
    own = list(optimizer.state_dict()["state"])
    optimizer.gather_state()
    return [own, list(optimizer.state_dict()["state"]), torch_steps.values(params)]


def message(call: Any, error: type[Exception]) -> str:
    """Of what a call raises."""
    try:
        call()
    except error as raised:
        return str(raised)
    return "nothing raised"


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, calls = dist.get_rank(), shards.collectives()
    start = torch.load(folder / "start.pt", weights_only=True)
    results = {key: run(case, start[key], calls) for key, case in CASES.items()}
    others = {
        "failed": failing(start["shampoo"]),
        "copied": copied(),
        "growing": growing(),
        "single": single(),
        "factorisations": shards.sizes_of_factorisations(SINGLE, shard="all"),
    }
    params, optimizer = CASES["soap"].make()
    CASES["soap"].train(optimizer, params, 0, 1)
    before = torch_steps.values(params)
    dist.destroy_process_group()
    train = CASES["soap"].train
    others["left alone"] = message(lambda: train(optimizer, params, 1, 2), RuntimeError)
    others["untouched"] = all(map(torch.equal, before, torch_steps.values(params)))
    plain = {key: dataclasses.asdict(found) for key, found in results.items()}
    torch.save((plain, others), folder / f"rank{rank}.pt")
