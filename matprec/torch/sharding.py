"""Refreshes shared by the ranks of `torch.distributed`; everything else is replicated.

Of a stack of B matrices each of the N ranks refreshes at most ceil(B / N), and one collective per
stack gives every rank the whole: the state is replicated, and a state dict from rank 0 is complete.
The first share of stack number s goes to rank s mod N, since many stacks have less than N matrices.

This asks for the same parameters, the same hyperparameters and the same gradients on all ranks, as
under `DistributedDataParallel`; then whether a refresh is due is the same everywhere too, without
asking. All ranks of the default group must take every step.
"""

import torch
import torch.distributed as dist

from matprec.algorithms.base import State
from matprec.step import Refresh


def world_size() -> int:
    """Ranks of the default group; 1 where `torch.distributed` is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def refresh_alone(refresh: Refresh, chosen: torch.Tensor, carry: State) -> State:
    """`refresh(chosen, carry)`; where LAPACK gives up, the carry, counted in `failed_roots`."""
    try:
        # LAPACK gives columns, a checkpoint holds rows: their products differ in rounding.
        return {key: value.contiguous() for key, value in refresh(chosen, carry).items()}
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        # No convergence. The roots are kept: no rank may raise alone.
        return carry | {"failed_roots": carry["failed_roots"] + chosen}


def refresh_shared(
    refresh: Refresh, chosen: torch.Tensor, carry: State, number: int, ranks: int
) -> State:
    """`refresh_alone` by all ranks together; where LAPACK gives up on one, only its share is kept.

    Args:
      refresh: of the whole stack, as are `chosen` (B,) and `carry`, arrays (B, ...) of one dtype.
      number: of the stack; decides which rank begins.
      ranks: how many there are.
    """
    matrices = len(chosen)
    share = -(-matrices // ranks)
    place = (dist.get_rank() - number) % ranks
    rows = slice(min(place * share, matrices), min((place + 1) * share, matrices))
    mine = {key: value[rows] for key, value in carry.items()}
    if rows.start < rows.stop:
        mine = refresh_alone(refresh.on(lambda x: x[rows]), chosen[rows], mine)

    widths = [value[0].numel() for value in carry.values()]
    sent = chosen.new_zeros(share, sum(widths), dtype=carry["last_refresh"].dtype)
    for columns, value in zip(sent.split(widths, 1), mine.values(), strict=True):
        columns[: len(value)] = value.reshape(len(value), columns.shape[1])
    received = [torch.empty_like(sent) for _ in range(ranks)]
    dist.all_gather(received, sent)
    shares = [received[(place + number) % ranks] for place in range(ranks)]
    everything = torch.cat(shares)[:matrices].split(widths, 1)
    return {
        key: part.reshape(value.shape).contiguous()
        for (key, value), part in zip(carry.items(), everything, strict=True)
    }
