"""Checks of an entry, beyond AlgoPerf's own, which looks at the names of three files."""

from benchmark.entries.check import (
    asking,
    batch_sizes,
    environment,
    files,
    imports,
    info_fields,
    search_space,
    self_tuning,
    signatures,
    workload_names,
)
from benchmark.entries.check.asking import Answer
from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry


def check(entry: Entry, answer: Answer | None = None) -> list[Defect]:
    """Everything that is wrong with an entry, sorted by place.

    Args:
      entry: an entry.
      answer: its own, see `asking.ask`; without it the checks go by its text alone.
    """
    answered = answer is not None and "batch_sizes" in answer
    asked = answer is not None and answered and "points" in answer
    found = [
        *entry.defects,
        *files.check(entry),
        *info_fields.check(entry),
        *signatures.check(entry),
        *self_tuning.check(entry),
        *search_space.check(entry, asked),
        *workload_names.check(entry),
        *environment.check(entry),
        *imports.check(entry),
    ]
    if answer is not None:
        found += asking.check(entry, answer)
    if not answered:
        found += batch_sizes.check(entry)
    return sorted(set(found))


__all__ = ["Answer", "Defect", "Entry", "check"]
