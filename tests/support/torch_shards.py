"""What each of several PyTorch ranks does in the tests of shared refreshes.

`main` writes rank<R>.pt into a folder: per optimizer and dtype what `Results` says, and counts.
"""

import dataclasses
from pathlib import Path
from typing import Any

import array_api_compat.torch.linalg as xp_linalg
import torch
import torch.distributed as dist
import torch_steps

# Wide, tall, square, of one and of four dimensions; stacks of 3, 2 and 1 matrices; two vectors.
SHAPES = [(5, 3), (3, 5), (4, 4), (5, 3), (7,), (5, 3), (3, 5), (2, 2, 3, 4), (), (0, 3), (6, 2)]
DTYPES = (torch.float64, torch.float32)
STEPS, MIDDLE, EVERY = 20, 8, 3
FAILURE = 9  # a step with a scheduled refresh, after MIDDLE; steps count from 0 here
SINGLE = [(4, 3), (5, 4), (6, 5), (7, 6)]  # stacks of one matrix each
FACTORISATIONS = [(xp_linalg, "eigh"), (xp_linalg, "svd"), (xp_linalg, "qr"), (torch, "geqrf")]


@dataclasses.dataclass
class Results:
    """Parameters after all steps, states as `state_dict` gives them, and what has been counted.

    Attributes:
      params: after STEPS steps.
      middle: state dict and parameters after MIDDLE steps, of rank 0 alone.
      end: state dict after all steps, taken when there is no process group any more.
      resumed: parameters after all steps, the first MIDDLE of which one process has done.
      collectives: how often ranks spoke to each other.
      failed, failed_end: parameters and state dict after one more refresh and one more step than
        MIDDLE, with LAPACK giving up on rank 1.
    """

    params: list[torch.Tensor]
    middle: Any
    end: dict[str, Any]
    resumed: list[torch.Tensor]
    collectives: int
    failed: list[torch.Tensor]
    failed_end: dict[str, Any]


def make(name: str, dtype: torch.dtype, **settings: Any) -> tuple[list[Any], Any]:
    params = torch_steps.parameters(SHAPES, dtype)
    return params, torch_steps.make(name, params, every=EVERY, **settings)


def spoil(step: int, grads: list[Any]) -> None:
    """A first refresh that is late, a gradient that is not finite, and one that is missing."""
    if step in (0, 1):
        grads[3].zero_()
    if step == 13:
        grads[1][0, 0] = torch.nan
    if step in (4, 16):
        grads[6] = None


def train(optimizer: Any, params: list[Any], first: int, last: int) -> None:
    torch_steps.train(optimizer, params, range(first, last), spoil)


def give_up(*args: Any, **kwargs: Any) -> Any:
    raise torch.linalg.LinAlgError("no convergence")  # type: ignore[attr-defined]


class Patched:
    """The factorisations that optimizers call, replaced while in this context."""

    def __init__(self, replacement: Any) -> None:
        self.originals = [(*place, getattr(*place)) for place in FACTORISATIONS]
        self.replacement = replacement

    def __enter__(self) -> None:
        for module, name, original in self.originals:
            setattr(module, name, self.replacement(original))

    def __exit__(self, *error: object) -> None:
        for module, name, original in self.originals:
            setattr(module, name, original)


def resumed(name: str, dtype: torch.dtype, start: Any) -> tuple[list[Any], Any]:
    """Parameters and an optimizer as another run has left them, (state dict, parameters)."""
    params, optimizer = make(name, dtype)
    optimizer.load_state_dict(start[0])
    for param, value in zip(params, start[1], strict=True):
        param.data.copy_(value)
    return params, optimizer


def failing(name: str, dtype: torch.dtype, start: Any, rank: int) -> tuple[list[Any], Any]:
    """Training in which LAPACK gives up at one refresh, on rank 1 alone."""
    params, optimizer = resumed(name, dtype, start)
    train(optimizer, params, MIDDLE, FAILURE)
    with Patched(lambda original: give_up if rank == 1 else original):
        train(optimizer, params, FAILURE, FAILURE + 1)
    train(optimizer, params, FAILURE + 1, FAILURE + 2)
    return params, optimizer


def counting(sizes: list[int]) -> Any:
    """A replacement that notes how many matrices each factorisation takes."""

    def replacement(original: Any) -> Any:
        def counted(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            sizes.append(len(x))
            return original(x, *args, **kwargs)

        return counted

    return replacement


def sizes_of_factorisations(shapes: list[Any], **settings: Any) -> list[int]:
    params = torch_steps.parameters(shapes)
    optimizer = torch_steps.make("asgo", params, every=1, **settings)
    sizes: list[int] = []
    with Patched(counting(sizes)):
        torch_steps.train(optimizer, params, [0])
    return sizes


def collectives() -> list[str]:
    """A list that grows with every collective from now on."""
    calls: list[str] = []
    original = dist.all_gather

    def all_gather(*args: Any, **kwargs: Any) -> Any:
        calls.append("all_gather")
        return original(*args, **kwargs)

    dist.all_gather = all_gather
    return calls


def main(folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, calls = dist.get_rank(), collectives()
    start = torch.load(folder / "start.pt", weights_only=True)
    everything: dict[Any, Results] = {}
    optimizers = {}
    for name in names:
        for dtype in DTYPES:
            params, optimizer = make(name, dtype)
            before = len(calls)
            train(optimizer, params, 0, MIDDLE)
            middle = None
            if rank == 0:
                middle = optimizer.state_dict(), torch_steps.values(params)
            train(optimizer, params, MIDDLE, STEPS)
            spoken = len(calls) - before

            others, other = resumed(name, dtype, start[name, dtype])
            train(other, others, MIDDLE, STEPS)

            failed, spoilt = failing(name, dtype, start[name, dtype], rank)
            found = map(torch_steps.values, (params, others, failed))
            results = Results(next(found), middle, {}, next(found), spoken, next(found), {})
            everything[name, dtype] = results
            optimizers[name, dtype] = optimizer, spoilt
    counts: dict[str, Any] = {
        "shared": sizes_of_factorisations(SINGLE),
        "five": sizes_of_factorisations([(4, 3)] * 5),
    }
    before = len(calls)
    counts["alone"] = sizes_of_factorisations(SINGLE, shard=None)
    counts["collectives alone"] = len(calls) - before
    dist.destroy_process_group()
    for key, (optimizer, spoilt) in optimizers.items():
        everything[key].end = optimizer.state_dict()
        everything[key].failed_end = spoilt.state_dict()
    plain = {key: dataclasses.asdict(results) for key, results in everything.items()}
    torch.save((plain, counts), folder / f"rank{rank}.pt")
