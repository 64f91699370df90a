"""What a source of documents is: splits, made of units that are read independently of each other.

A unit is what one worker process tokenises at a time, such as a file of `allenai/c4`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Unit:
    """A part of a split.

    Attributes:
      split: 'train', 'validation' or 'test'.
      name: unique within the source and the same in every run, such as a file's name; it goes into
        meta.json.
      size: in bytes of input, for progress and estimates; 0 where that is not known.
    """

    split: str
    name: str
    size: int


@dataclass
class BadDocuments:
    """What becomes of documents that cannot be read: an error, or a count.

    Attributes:
      skip: count them; otherwise the first one is an error.
      count: of those that were skipped.
      truncated_files: of which the rest was skipped, of as many documents as nobody knows.
      first: where and why, of the first one of both; '' if there was none.
    """

    skip: bool = False
    count: int = field(default=0, init=False)
    truncated_files: int = field(default=0, init=False)
    first: str = field(default="", init=False)

    def __call__(self, where: str, why: str) -> None:
        """Counts the document at `where`, such as a file and a line, or raises DataError."""
        self._tell(where, why, "such documents")
        self.count += 1

    def rest_of_file(self, where: str, why: str) -> None:
        """Counts a file that cannot be read any further, or raises DataError."""
        self._tell(where, why, "the rest of such files")
        self.truncated_files += 1

    def _tell(self, where: str, why: str, what: str) -> None:
        if not self.skip:
            raise DataError(f"{where}: {why} (--skip_bad_lines leaves {what} out)")
        self.first = self.first or f"{where}: {why}"


class Source(Protocol):
    """Documents of a corpus. Worker processes get it pickled: it holds no open files."""

    def facts(self) -> dict[str, Any]:
        """What identifies the corpus, as JSON: `kind` and whatever makes it another one.

        It stands in meta.json, and a resumed preparation must find the same. Paths have no place in
        it: two machines' preparations of the same files are to be the same.
        """
        ...

    def units(self, split: str) -> list[Unit]:
        """The units of 'train', 'validation' or 'test', in order, at least one.

        Raises DataError, one line, if there are none or the source cannot be used.
        """
        ...

    def documents(self, unit: Unit, bad: BadDocuments) -> Iterator[tuple[str, int]]:
        """The unit's documents in order: text, and how many bytes of the unit have been read.

        Every text can be encoded as UTF-8. Documents that cannot be read go to `bad`, and a unit
        that cannot be read further to its `rest_of_file`. Raises DataError, one line, if the unit
        cannot be read at all.
        """
        ...
