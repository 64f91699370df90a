"""What is in the beginning of a part: the last one of a split is cut at the needed amount."""

from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from .part import PartRecord, PartTask

_COLUMNS = 3  # see PartTask.table


@dataclass(frozen=True)
class Cut:
    """The first tokens of a part: how many are stored, and of what; see `PartRecord`.

    There are documents after them, so that no unit was truncated before.
    """

    stored: int
    kept: int
    text_bytes: int
    skipped: int
    truncated: int = 0


def cut(task: PartTask, record: PartRecord, stored: int) -> Cut:
    """What is in the first `stored` tokens of a part, whole rows if it has rows.

    Of the document that the end falls into bytes are counted in proportion.
    """
    table = np.fromfile(task.table, "<u4").reshape(-1, _COLUMNS).astype(np.int64)
    sizes = np.full(len(table), task.row_tokens) if task.row_tokens else table[:, 0]
    ends = np.cumsum(sizes)
    last = int(np.searchsorted(ends, stored))  # the document of the last token
    if not 0 < stored <= record.stored or int(ends[-1]) != record.stored:
        raise DataError(f"{task.table} does not fit to {task.path}: prepare it again")
    if task.row_tokens:
        kept, text_bytes = table[: last + 1, :2].sum(axis=0)
    else:
        kept = stored
        of_last = stored - int(ends[last] - sizes[last])
        text_bytes = table[:last, 1].sum() + round(int(table[last, 1]) * of_last / int(sizes[last]))
    return Cut(stored, int(kept), int(text_bytes), int(table[last, 2]))
