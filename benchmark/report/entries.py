"""The table of entries, one row per submission and workload: the same columns and cells in the
terminal and in the report, which has some more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.report import format as fmt
from benchmark.report.leaderboard import present_baselines
from benchmark.scoring import Scores


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


def columns(scores: Scores, *, spread: bool = False) -> list[Column]:
    """The columns of `scores.table` as text; those with nothing to tell are left out.

    These are the ratios to a baseline without logs, and compile times in logs without them.
    spread: with what the studies' spread is, and why there is no credit, but without the score,
    which the report's leaderboard has.
    """
    table = scores.table
    spread_over_studies = spread and scores.num_studies > 1

    def column(name: str, write: Callable[[Any], str], *heading: str, **kinds: bool) -> Column:
        first, second, meaning = heading
        return Column((first, second), meaning, [write(cell) for cell in table[name]], **kinds)

    def together(names: Sequence[str], write: Callable[..., str]) -> list[str]:
        return [write(*cells) for cells in zip(*(table[name] for name in names), strict=True)]

    shown = [
        column("submission", str, "submission", "", "", numeric=False, per_submission=True),
        column("workload", str, "workload", "", "", numeric=False),
        Column(
            ("reached", ""),
            "studies that met the validation target, of those required",
            together(["reached", "studies"], lambda k, n: f"{k} of {n}"),
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
    if spread_over_studies:
        meaning = "seconds to the target of the fastest and of the slowest study"
        cells = together(["time_min", "time_max"], fmt.seconds_range)
        shown.append(Column(("fastest to", "slowest s"), meaning, cells))
    for name in present_baselines(scores):
        heading = ("time /", name)
        meaning = f"time to target divided by that of {name}: below 1 is faster"
        if spread_over_studies:
            meaning += "; in brackets its 95 % bootstrap interval over studies"
            cells = together(
                [f"ratio_to_{name}", f"low_to_{name}", f"high_to_{name}"], fmt.with_interval
            )
            shown.append(Column(heading, meaning, cells))
        else:
            shown.append(column(f"ratio_to_{name}", fmt.ratio, *heading, meaning))
    if any(seconds >= 0 for seconds in table["compile_time"]):
        meaning = "seconds of that time spent compiling, which is on the clock"
        shown.append(column("compile_time", fmt.seconds, "compile", "s", meaning))
    if not spread:
        meaning = (
            "AlgoPerf benchmark score: 1 is the best possible; relative to this pool of entries"
        )
        shown.append(column("score", fmt.score, "AlgoPerf", "score", meaning, per_submission=True))
    meaning = "best validation value of any run, reached or not"
    shown.append(column("best_validation", fmt.metric, "best", "valid.", meaning))
    if spread and any(table["no_credit"] != ""):
        shown.append(column("no_credit", str, "no", "credit", "", numeric=False))
    return shown


def groups(shown: Sequence[Column]) -> Iterator[list[tuple[str, ...]]]:
    """The rows of each submission; what belongs to it as a whole stands in its first row only."""
    by_name: dict[str, list[tuple[str, ...]]] = {}
    for row in zip(*(column.cells for column in shown), strict=True):
        group = by_name.setdefault(row[0], [])
        if group:
            cells = zip(shown, row, strict=True)
            row = tuple("" if column.per_submission else cell for column, cell in cells)
        group.append(row)
    yield from by_name.values()
