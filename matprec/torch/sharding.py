"""Refreshes shared by the ranks of `torch.distributed`; everything else is replicated:
`shard="refresh"`.

The matrices that are due in a step are dealt out one by one, the dearest first, each to the rank
that has the least to do; a rank refreshes its share of every stack, and one collective gives every
rank the whole: the state is replicated, and a state dict from rank 0 is complete.

This asks for the same parameters, the same hyperparameters and the same gradients on all ranks, as
under `DistributedDataParallel`; then whether a refresh is due is the same everywhere too, without
asking. All ranks of the default group must take every step.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist

from matprec import balance
from matprec.algorithms.base import State
from matprec.step import Due


class Pending(NamedTuple):
    """A refresh of those matrices of a stack that are `chosen` (B,), all of them among `rows`."""

    due: Due
    chosen: torch.Tensor
    rows: list[int]


def world_size() -> int:
    """Ranks of the default group; 1 where `torch.distributed` is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This one in the default group; 0 where `torch.distributed` is not in use."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def all_gather(
    mine: Sequence[torch.Tensor], sizes: Sequence[int], like: torch.Tensor
) -> list[torch.Tensor]:
    """Every rank's numbers, flat.

    Args:
      mine: this rank's, flat tensors.
      sizes: how many each rank has; what comes back may be longer.
      like: a tensor of their dtype and device.
    """
    sent = like.new_empty(max(sizes))
    if mine:
        torch.cat(list(mine), out=sent[: sizes[dist.get_rank()]])
    received = [torch.empty_like(sent) for _ in sizes]
    dist.all_gather(received, sent)
    return received


def refresh_alone(pending: Pending) -> State:
    """The carry after the refresh; where LAPACK gives up, the carry, counted in `failed_roots`.

    Some rows of its roots and bases may have been written to.
    """
    due, chosen, rows = pending
    if len(rows) < len(chosen):
        part, carry = refresh_alone(_some(pending, rows)), _writable(due.carry)
        for key, value in carry.items():
            value[_index(rows)] = part[key]
        return carry
    try:
        # LAPACK gives columns, a checkpoint holds rows: their products differ in rounding.
        refreshed = due.refresh(chosen, due.carry)
        return {key: value.contiguous() for key, value in refreshed.items()}
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        # No convergence. The roots are kept: no rank may raise alone.
        return due.carry | {"failed_roots": due.carry["failed_roots"] + chosen}


def refresh_shared(everything: Sequence[Pending], ranks: int) -> list[State]:
    """`refresh_alone` for several stacks, by all ranks together; where LAPACK gives up on one, only
    that rank's share of the stack is kept."""
    costs = [
        [balance.cost(pending.due.algorithm, pending.due.carry)] * len(pending.rows)
        for pending in everything
    ]
    shares = _shares(everything, balance.deal(costs, ranks))
    mine = [
        refresh_alone(_some(pending, rows)) if rows else {}
        for pending, rows in zip(everything, shares[dist.get_rank()], strict=True)
    ]
    found = [_writable(pending.due.carry) for pending in everything]
    # A collective takes one dtype and device.
    for kind in dict.fromkeys(map(_kind, found)):
        chosen = [number for number, carry in enumerate(found) if _kind(carry) == kind]
        _exchange(
            [mine[i] for i in chosen],
            [found[i] for i in chosen],
            [[share[i] for i in chosen] for share in shares],
        )
    return found


def _shares(
    everything: Sequence[Pending], dealt: Sequence[Sequence[Sequence[int]]]
) -> list[list[list[int]]]:
    """Per rank and stack as many rows as it was dealt, those next to one another, which need not be
    copied: rows of one stack cost the same."""
    shares: list[list[list[int]]] = []
    starts = [0] * len(everything)
    for hand in dealt:
        stops = [start + len(places) for start, places in zip(starts, hand, strict=True)]
        bounds = zip(everything, starts, stops, strict=True)
        shares.append([pending.rows[start:stop] for pending, start, stop in bounds])
        starts = stops
    return shares


def _index(rows: list[int]) -> slice | list[int]:
    """For rows of a stack, which are a view of it where they are next to one another."""
    first, last = rows[0], rows[-1]
    return slice(first, last + 1) if rows == list(range(first, last + 1)) else rows


def _exchange(
    mine: Sequence[State], found: Sequence[State], shares: Sequence[Sequence[list[int]]]
) -> None:
    """Write every rank's rows, of which `mine` are this one's, to `found`, the stacks' carries."""
    sizes = [
        sum(
            len(rows) * value[0].numel()
            for rows, carry in zip(share, found, strict=True)
            for value in carry.values()
        )
        for share in shares
    ]
    parts = [value.reshape(-1) for carry in mine for value in carry.values()]
    received = all_gather(parts, sizes, next(iter(found[0].values())))
    for share, flat in zip(shares, received, strict=True):
        start = 0
        for rows, carry in zip(share, found, strict=True):
            for value in carry.values() if rows else ():
                part = flat[start : (start := start + len(rows) * value[0].numel())]
                value[_index(rows)] = part.view(len(rows), *value.shape[1:])


def _writable(carry: State) -> State:
    """Roots and bases may be written to; a step that goes on asks what its counters have been."""
    return {key: value.clone() if value.ndim == 1 else value for key, value in carry.items()}


def _some(pending: Pending, rows: list[int]) -> Pending:
    """The refresh of these rows alone, as a stack of their own."""
    due, chosen, _ = pending
    index = _index(rows)
    carry = {key: value[index] for key, value in due.carry.items()}
    some = dataclasses.replace(due, refresh=due.refresh.on(lambda x: x[index]), carry=carry)
    return Pending(some, chosen[index], list(range(len(rows))))


def _kind(carry: State) -> tuple[torch.dtype, torch.device]:
    value = next(iter(carry.values()))
    return value.dtype, value.device
