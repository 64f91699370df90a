"""Parameters that have one rank each of `torch.distributed`, for their whole step: `shard="all"`.

Parameters are dealt out by the cost of a step, the dearest first, each to the rank that has the
least to do. Its owner alone keeps a parameter's state, refreshes and steps it; one collective per
dtype and device then gives every rank the new values, for which they are in memory once more.
Nothing else is sent: all matrices of a tensor, whose lengths grafting adds up, are with one rank.

This asks of the ranks what `matprec.torch.sharding` does.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist

from matprec import balance
from matprec.torch import sharding
from matprec.torch.groups import Exported


@dataclasses.dataclass
class Ownership:
    """Which rank owns which parameter.

    Attributes:
      rank, ranks: this one's number, and how many there are.
      owners: per parameter group, the rank of each of its parameters.
      loads: per rank, the cost of what it owns.
    """

    rank: int = dataclasses.field(default_factory=sharding.rank)
    ranks: int = dataclasses.field(default_factory=sharding.world_size)
    owners: list[list[int]] = dataclasses.field(default_factory=list)
    loads: list[float] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.loads = [0.0] * self.ranks

    def check(self) -> None:
        """Raise RuntimeError unless the process group is still the one that it was made in."""
        now = sharding.rank(), sharding.world_size()
        if now != (self.rank, self.ranks):
            raise RuntimeError(
                f"this optimizer holds the state of rank {self.rank} of {self.ranks}, and runs as "
                f"rank {now[0]} of {now[1]}: load a whole state dict into a new one"
            )

    def extend(self, costs: Sequence[Sequence[float]]) -> None:
        """Deal out the parameters of more groups, by their costs."""
        dealt = balance.deal(costs, self.ranks, self.loads)
        for number, group in enumerate(costs):
            owners = [0] * len(group)
            for rank, hand in enumerate(dealt):
                for row in hand[number]:
                    owners[row] = rank
                    self.loads[rank] += group[row]
            self.owners.append(owners)

    def of_mine(self, group: int) -> list[int]:
        """The numbers of this rank's parameters in a group."""
        return [number for number, owner in enumerate(self.owners[group]) if owner == self.rank]

    def share_values(self, groups: Sequence[dict[str, Any]]) -> None:
        """Write to all parameters that have a gradient what their owners have made of them."""
        kinds: dict[Any, list[list[torch.Tensor]]] = {}
        # Groups added since the last gradient of any new one have no owners yet, and none here.
        for group, owners in zip(groups, self.owners, strict=False):
            for param, owner in zip(group["params"], owners, strict=True):
                if param.grad is not None:
                    shares = kinds.setdefault(
                        (param.dtype, param.device), [[] for _ in range(self.ranks)]
                    )
                    shares[owner].append(param)
        for shares in kinds.values():
            _share(shares, self.rank)

    def gather(self, mine: Iterator[tuple[int, Exported]]) -> dict[int, Exported] | None:
        """What all ranks have, in the memory of rank 0's CPU; None on the others.

        One parameter of every rank at a time, so that none but rank 0 needs much memory.
        """
        counts = [sum(group.count(rank) for group in self.owners) for rank in range(self.ranks)]
        found: dict[int, Exported] = {}
        for _ in range(max(counts)):
            sent = [(index, _on_cpu(state)) for index, state in itertools.islice(mine, 1)]
            received: list[Any] | None = [None] * self.ranks if self.rank == 0 else None
            dist.gather_object(sent, received)
            for items in received or ():
                found.update(items)
        return found if self.rank == 0 else None


def _share(shares: Sequence[Sequence[torch.Tensor]], rank: int) -> None:
    """Write to every rank's tensors, all of one dtype and device, what they are on that rank."""
    sizes = [sum(tensor.numel() for tensor in share) for share in shares]
    like = next(tensor for share in shares for tensor in share)
    mine = [tensor.reshape(-1) for tensor in shares[rank]]
    received = sharding.all_gather(mine, sizes, like)
    for owner, (share, flat) in enumerate(zip(shares, received, strict=True)):
        if owner == rank:
            continue
        start = 0
        for tensor in share:
            part = flat[start : (start := start + tensor.numel())]
            tensor.copy_(part.view(tensor.shape))


def _on_cpu(state: Exported) -> Exported:
    return {
        key: [array if array is None else array.cpu() for array in arrays]
        for key, arrays in state.items()
    }
