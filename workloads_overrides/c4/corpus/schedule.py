"""Which units a split needs, and which to begin with next.

The result has the first units with enough tokens, whatever order they are finished in. An error of
a unit counts when all before it are finished and are not enough: more processes find no more errors
than one.
"""

from collections.abc import Sequence

from ...errors import DataError
from .part import PartRecord, PartTask


class SplitWork:
    """One split's units: those made so far, and those that it still takes.

    Attributes:
      split: its name.
      tasks: of all of its units, in order.
      needed: tokens to be stored.
    """

    def __init__(self, split: str, tasks: Sequence[PartTask], needed: int) -> None:
        self.split, self.tasks, self.needed = split, tasks, needed
        self._outcomes: dict[int, PartRecord | DataError] = {}
        self._started: set[int] = set()

    def set(self, task: PartTask, outcome: PartRecord | DataError | None) -> None:
        """What has become of a unit; None: it was stopped, and may be begun again."""
        self._started.discard(task.index)
        if outcome is not None:
            self._outcomes[task.index] = outcome

    def used(self) -> list[tuple[PartTask, PartRecord, int]] | None:
        """(task, record, tokens to take of it) of the units in the result; None: not there yet.

        Raises the error of a unit that is needed, and DataError if all units are too few.
        """
        taken: list[tuple[PartTask, PartRecord, int]] = []
        left = self.needed
        for task in self.tasks:
            outcome = self._outcomes.get(task.index)
            if outcome is None:
                return None
            if isinstance(outcome, DataError):
                raise outcome
            taken.append((task, outcome, min(left, outcome.stored)))
            left -= outcome.stored
            if left <= 0:
                return taken
        raise DataError(
            f"the corpus has too few tokens of {self.split}: {self.needed - left:,} in "
            f"{len(self.tasks)} files, {self.needed:,} are needed; more files can be added, and "
            "what is finished is kept"
        )

    def next(self, tokens_per_byte: float) -> PartTask | None:
        """A unit to begin with, which then counts as begun; None if no more are likely to be needed
        than have been begun.

        `tokens_per_byte` of input estimates those that are being made; where their sizes are not
        known, the finished ones do.
        """
        made = [x.stored for x in self._outcomes.values() if isinstance(x, PartRecord)]
        mean = sum(made) / len(made) if made else 0.0
        expected = 0.0
        for task in self.tasks:
            if expected >= self.needed:
                return None
            outcome = self._outcomes.get(task.index)
            if isinstance(outcome, PartRecord):
                expected += outcome.stored
            elif isinstance(outcome, DataError):
                return None
            elif task.index in self._started:
                expected += tokens_per_byte * task.unit.size or mean
            else:
                self._started.add(task.index)
                return task
        return None

    def done(self, being_made: int) -> int:
        """Tokens there, of `needed`, with those of the units that are being made."""
        finished = sum(
            outcome.stored for outcome in self._outcomes.values() if isinstance(outcome, PartRecord)
        )
        return min(self.needed, finished + being_made)
