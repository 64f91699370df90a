"""The table of a race: the same columns and cells in the terminal and in the HTML report."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.report import format as fmt
from benchmark.scoring import Scores

# Without a terminal (a log file, a pipe) rich would fold the table to 80 columns.
WIDTH = 100
LONGEST_HEADING = 9
# Fewer studies than these rank nothing: seeds differ by more than optimizers do.
RANKING_STUDIES = 5


@dataclass(frozen=True)
class Column:
    """One column: two lines of heading, what it means, and its cells, one per row of the table."""

    heading: tuple[str, str]
    meaning: str
    cells: list[str]
    numeric: bool = True
    per_submission: bool = False

    @property
    def name(self) -> str:
        return " ".join(self.heading).strip()


def columns(scores: Scores) -> list[Column]:
    """The columns of `scores.table` as text; those with nothing to tell are left out.

    These are the ratios to a baseline without logs, and compile times in logs without them.
    """
    table = scores.table

    def column(name: str, write: Callable[[Any], str], *heading: str, **kinds: bool) -> Column:
        first, second, meaning = heading
        return Column((first, second), meaning, [write(cell) for cell in table[name]], **kinds)

    shown = [
        column("submission", str, "submission", "", "", numeric=False, per_submission=True),
        column("workload", str, "workload", "", "", numeric=False),
        Column(
            ("reached", ""),
            "studies that met the validation target, of those required",
            [f"{k} of {n}" for k, n in zip(table["reached"], table["studies"], strict=True)],
        ),
        column("steps_to_target", fmt.steps, "steps to", "target", "median over studies"),
        column(
            "time_to_target",
            fmt.seconds,
            "time to",
            "target s",
            "seconds of submission time (evaluation is off the clock), median over studies",
        ),
    ]
    shown += [
        column(
            f"ratio_to_{name}",
            fmt.ratio,
            "time /",
            name,
            f"time to target divided by that of {name}: below 1 is faster",
        )
        for name in scores.baselines
        if name in scores.scores
    ]
    if any(seconds >= 0 for seconds in table["compile_time"]):
        meaning = "seconds of that time spent compiling, which is on the clock"
        shown.append(column("compile_time", fmt.seconds, "compile", "s", meaning))
    meaning = "AlgoPerf benchmark score: 1 is the best possible; relative to this pool of entries"
    shown.append(column("score", fmt.score, "AlgoPerf", "score", meaning, per_submission=True))
    meaning = "best validation value of any run, reached or not"
    shown.append(column("best_validation", fmt.metric, "best", "valid.", meaning))
    return shown


def groups(shown: Sequence[Column]) -> Iterator[list[tuple[str, ...]]]:
    """The rows of each submission; what belongs to it as a whole stands in its first row only."""
    rows = list(zip(*(column.cells for column in shown), strict=True))
    for name in dict.fromkeys(shown[0].cells):
        group = [row for row in rows if row[0] == name]
        later = [
            tuple(
                "" if column.per_submission else cell
                for column, cell in zip(shown, row, strict=True)
            )
            for row in group[1:]
        ]
        yield [group[0], *later]


def target_lines(scores: Scores) -> list[str]:
    """One line per workload: its target and, where known, its budget."""
    lines = []
    for name, target in scores.targets.items():
        budget = f", budget {fmt.duration(target.budget)}" if target.budget > 0 else ""
        lines.append(f"{name}: validation {target}{budget}")
    return lines


def caveat(scores: Scores) -> str:
    """What must be said of a race with few studies; empty with enough of them."""
    if scores.num_studies >= RANKING_STUDIES or len(scores.scores) < 2:
        return ""
    studies = "one study" if scores.num_studies == 1 else f"{scores.num_studies} studies"
    return f"Of {studies}: no ranking, which takes {RANKING_STUDIES} and ranges that do not overlap"


def print_table(scores: Scores, console: Console | None = None) -> None:
    """Prints the table and the targets, best score first. Fits into 100 columns."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH)
    shown = columns(scores)
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for column in shown:
        long = max(map(len, column.heading)) > LONGEST_HEADING
        table.add_column(
            Text("\n".join(column.heading)),
            justify="right" if column.numeric else "left",
            # Where the width does not do, names are folded, never numbers.
            no_wrap=column.numeric and not long,
            max_width=LONGEST_HEADING if column.numeric else None,
            overflow="fold",
        )
    for group in groups(shown):
        for row in group:
            table.add_row(*map(Text, row))
        if len(scores.targets) > 1:
            table.add_section()
    console.print(table)
    for line in [*target_lines(scores), caveat(scores)]:
        if line:
            console.print(Text(line))
