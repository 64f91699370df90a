"""The table of a race in the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.report import format as fmt
from benchmark.report.entries import columns, groups
from benchmark.report.leaderboard import Speedup, leaderboard, present_baselines
from benchmark.report.statement import caveat, differing_lines, mixed_line, target_lines
from benchmark.scoring import Scores

# Without a terminal (a log file, a pipe) rich would fold the table to 80 columns.
WIDTH = 100
LONGEST_HEADING = 9
# Of larger tables only the leaderboard is printed.
MOST_ROWS = 40
# More baselines than these have no room for intervals.
WIDE_BASELINES = 2
INTERVAL_WIDTH = 16


def print_table(scores: Scores, console: Console | None = None, most_rows: int = MOST_ROWS) -> None:
    """Prints the table and the targets, best score first. Fits into 100 columns.

    With more than `most_rows` entries it is the leaderboard only.
    """
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH)
    lines = [*target_lines(scores), caveat(scores), mixed_line(scores), *differing_lines(scores)]
    if len(scores.table) > most_rows:
        console.print(_leaderboard(scores))
        lines = [*_leaderboard_lines(scores), *lines]
    else:
        console.print(_entries(scores))
    for line in lines:
        if line:
            console.print(Text(line))


def _entries(scores: Scores) -> Table:
    shown = columns(scores)
    table = _empty()
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
    return table


def _leaderboard(scores: Scores) -> Table:
    table = _empty()

    def add(*heading: str, name: bool = False, width: int | None = None) -> None:
        table.add_column(
            Text("\n".join(heading)),
            justify="left" if name else "right",
            no_wrap=not name and width is None,
            max_width=width,
            overflow="fold",
        )

    add("#")
    add("submission", name=True)
    add("AlgoPerf", "score")
    add("credit", f"of {len(scores.base_targets)}")
    baselines = present_baselines(scores)
    wide = len(baselines) <= WIDE_BASELINES
    for baseline in baselines:
        add("speed-up", "over", baseline, width=INTERVAL_WIDTH if wide else LONGEST_HEADING)
        if wide:
            add("both", "(n)")
    for place in leaderboard(scores):
        cells = [str(place.rank), place.submission, fmt.score(place.score), str(place.credited)]
        for speedup in place.speedups:
            cells += (
                [_interval(speedup), speedup.over_both_text]
                if wide
                else [fmt.ratio(speedup.over_all)]
            )
        table.add_row(*map(Text, cells))
    return table


def _interval(speedup: Speedup) -> str:
    return speedup.over_all_text.replace(" to ", "-")


def _leaderboard_lines(scores: Scores) -> list[str]:
    """What the columns of the leaderboard mean."""
    told = [f"All {len(scores.table)} times to target are in the report."]
    if present_baselines(scores):
        told.append(
            "Speed-up: geometric mean of the baseline's time / the submission's, above 1 is faster;"
            " over all workloads, a miss as the budget plus 1 s, with its 95 % interval over"
            " studies; both: over the n workloads that both reach."
        )
    return told


def _empty() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
