"""How much of C4 a workload reads, and in which layout."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..names import WORKLOADS as ALL_WORKLOADS
from ..names import canonical
from .meta import TOKEN_BYTES, Meta
from .sizes import SIZES, Size

# The names that preparation knows.
WORKLOADS: tuple[str, ...] = tuple(name for name in ALL_WORKLOADS if canonical(name) in SIZES)


def size_of(workload: str) -> Size:
    """The sizes of one of WORKLOADS."""
    return SIZES[canonical(workload)]


@dataclass(frozen=True)
class Amounts:
    """What is to be prepared.

    Attributes:
      layout: 'packed', one stream of documents with an end after each, or 'truncated', GaLore's:
        a document per row, cut or padded.
      context: tokens that a row has as inputs.
      rows: per split.
    """

    layout: str
    context: int
    rows: Mapping[str, int]

    @property
    def row_tokens(self) -> int:
        """As in meta.json: 0 if packed."""
        return 0 if self.layout == "packed" else self.context + 1

    def tokens(self, split: str) -> int:
        """How many are stored of a split, exactly."""
        if self.layout == "packed":
            # The last row's last target is one more.
            return self.rows[split] * self.context + 1
        return self.rows[split] * self.row_tokens

    def to_json(self) -> dict:
        return {"layout": self.layout, "context": self.context, "rows": dict(self.rows)}


def amounts_of(
    workload: str,
    layout: str = "packed",
    train_rows: int | None = None,
    eval_rows: int | None = None,
) -> Amounts:
    """A workload's amounts; for trials, with other numbers of training or of evaluation rows."""
    size = size_of(workload)
    rows = dict(size.rows)
    for split in rows:
        rows[split] = (train_rows if split == "train" else eval_rows) or rows[split]
    return Amounts(layout, size.context_length, rows)


def check_enough(meta: Meta, folder: Path, amounts: Amounts) -> None:
    """Raises DataError unless a prepared folder has at least `amounts`, in their layout and their
    length of rows, and every file of these splits is there with the size that meta.json says."""
    for what, found, wanted in (
        ("layout", meta.layout, amounts.layout),
        ("row_tokens", meta.row_tokens, amounts.row_tokens),
    ):
        if found != wanted:
            raise DataError(f"{folder} has {what} {found!r}, not {wanted!r}")
    for split in amounts.rows:
        content = meta.split(split)
        if content.stored < amounts.tokens(split):
            raise DataError(
                f"{folder} has {content.stored:,} tokens of {split}, fewer than the "
                f"{amounts.tokens(split):,} that are needed"
            )
        for name, tokens in content.shards:
            path = folder / name
            size = path.stat().st_size if path.is_file() else 0
            if size != tokens * TOKEN_BYTES:
                raise DataError(
                    f"{path} is missing or truncated: it has {size:,} bytes, but meta.json says "
                    f"{tokens * TOKEN_BYTES:,}"
                )
