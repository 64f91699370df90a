"""What was found wrong or odd in a log tree while it was scored."""

from enum import Enum

from benchmark.errors import one_line


class Kind(Enum):
    """left out: something was not scored, or absent where the rules want it; `--strict` minds.
    note: everything was scored, but a reader should know."""

    LEFT_OUT = "left out"
    NOTE = "note"


class Findings:
    """One line per finding, in the order of the tree, whatever order the file system lists it in.

    Nothing that is wrong with a part of a tree stops the rest from being scored: it is told here.
    """

    def __init__(self) -> None:
        self._found: dict[str, Kind] = {}

    def note(self, text: str) -> None:
        self._found.setdefault(_clean(text), Kind.NOTE)

    def leave_out(self, text: str) -> None:
        self._found[_clean(text)] = Kind.LEFT_OUT

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._found)

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(text for text, kind in self._found.items() if kind is Kind.LEFT_OUT)


def _clean(text: str) -> str:
    """Names of folders may hold line breaks, and bytes that are no text in any encoding."""
    return one_line(text).encode(errors="replace").decode()
