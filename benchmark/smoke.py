"""Trials of a large workload in a size of the user's choice, to see that all of it runs.

The model is the workload's own; what shrinks are batches and splits, so that a machine without
GPUs, and a little data, suffice. Nothing of it compares with anything: `scripts/score.py` leaves
such runs out, and `scripts/set_targets.py` does not write their targets into the workload.
"""

from dataclasses import replace
from typing import Any

from benchmark.errors import UserError
from benchmark.submission import Submission


def rows(batch_size: int, steps: int) -> dict[str, int]:
    """How many rows of the prepared splits such a trial reads."""
    return {"train": batch_size * steps, "validation": batch_size, "test": batch_size}


def shrink(workload: Any, name: str, batch_size: int, steps: int) -> None:
    """Gives this one object as many rows, and an evaluation of the first training batch.

    Raises:
        UserError: the workload has no such sizes to set.
    """
    sizes = {f"{split}_rows": count for split, count in rows(batch_size, steps).items()}
    sizes |= dict.fromkeys(("eval_train_rows", "eval_rows_per_batch"), batch_size)
    if not all(hasattr(workload, attribute) for attribute in sizes):
        raise UserError(
            f"--smoke_batch_size={batch_size}: not for --workload={name}; allowed: c4_small and "
            "the C4 workloads of full size"
        )
    for attribute, count in sizes.items():
        setattr(workload, attribute, count)


def with_batch_size(submission: Submission, batch_size: int) -> Submission:
    """The submission with this batch size for every workload."""
    return replace(submission, get_batch_size=lambda _: batch_size)
