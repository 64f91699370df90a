"""Trials of a large workload in a size of the user's choice, to see that all of it runs.

The model is the workload's own; what shrinks are batches and splits, so that a machine without
GPUs, and a little data, suffice. Nothing of it compares with anything: `scripts/score.py` leaves
such runs out, and `scripts/set_targets.py` does not write their targets into the workload.
"""

from dataclasses import replace

from algoperf_api.spec import Workload
from benchmark.errors import UserError
from benchmark.submission import Submission

# What the C4 workloads have, as attributes.
_SPLITS = ("eval_train_rows", "validation_rows", "test_rows")


def shrink(workload: Workload, name: str, batch_size: int, steps: int) -> None:
    """Gives this one object training rows for `steps` batches, and splits of one batch each.

    Raises:
        UserError: the workload has no such sizes to set.
    """
    if not all(hasattr(workload, split) for split in (*_SPLITS, "train_rows")):
        raise UserError(
            f"--smoke_batch_size={batch_size}: not for --workload={name}; allowed: c4_small and "
            "the C4 workloads of full size"
        )
    sizes = {**dict.fromkeys(_SPLITS, batch_size), "eval_rows_per_batch": batch_size}
    for attribute, rows in {**sizes, "train_rows": batch_size * steps}.items():
        setattr(workload, attribute, rows)


def rows(batch_size: int, steps: int) -> dict[str, int]:
    """How many rows of the prepared splits such a trial reads."""
    return {"train": batch_size * steps, "validation": batch_size, "test": batch_size}


def with_batch_size(submission: Submission, batch_size: int) -> Submission:
    """The submission with this batch size for every workload."""
    return replace(submission, get_batch_size=lambda _: batch_size)
