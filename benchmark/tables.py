"""Tables of scripts: of rich in a terminal, plain lines of any length elsewhere."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NO_LIMIT = 1000  # columns: a file or pipe has no edge at which cells would have to be folded


class Heading(NamedTuple):
    """Of one column: its text, which may have several lines, and whether its cells are numbers."""

    text: str
    numeric: bool = False


def print_rows(
    headings: Sequence[Heading], rows: Iterable[Sequence[str]], console: Console | None = None
) -> None:
    """Prints a table. A terminal that is too narrow folds texts, never numbers."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=NO_LIMIT)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in headings:
        table.add_column(
            Text(heading.text),
            justify="right" if heading.numeric else "left",
            no_wrap=heading.numeric,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
