"""Fills the page template. The page needs no network: plots are SVG images inside it."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.report import format as fmt
from benchmark.report import statement
from benchmark.report.entries import columns, groups
from benchmark.report.leaderboard import Cell, leaderboard, present_baselines, times
from benchmark.report.missed import Missed, missed
from benchmark.report.notices import sorted_out
from benchmark.report.runs import merged_runs, shared_facts
from benchmark.report.style import COLOURS, Look
from benchmark.scoring import Scores

FOLDER = Path(__file__).parent / "templates"
TEMPLATE = "report.html.j2"
# Tables with more rows are folded, and lists of names with more names end in a number.
FOLDED_ROWS, NAMES_SHOWN = 40, 4
DIFFERENCES_SHOWN = 3


@dataclass(frozen=True)
class Plot:
    """A drawn plot. workload: None for a plot over all of them."""

    title: str
    workload: str | None
    svg: bytes

    @property
    def uri(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@dataclass(frozen=True)
class Section:
    """A workload of the page. facts: heading and sentence of what happened on it."""

    name: str
    anchor: str
    facts: dict[str, str]
    plots: list[Plot]


def render(scores: Scores, plots: Sequence[Plot], looks: Mapping[str, Look]) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    shown = columns(scores, spread=True)
    notices, more_notices = sorted_out(scores.warnings)
    cells, misses = times(scores), missed(scores)
    return environment.get_template(TEMPLATE).render(
        scores=scores,
        fmt=fmt,
        looks=looks,
        colours=len(COLOURS),
        folded_rows=FOLDED_ROWS,
        result=statement.result(scores),
        how_scored=statement.how_scored(scores),
        caveat=statement.caveat(scores),
        notices=notices,
        more_notices=more_notices,
        differences_shown=DIFFERENCES_SHOWN,
        places=leaderboard(scores),
        baselines=present_baselines(scores),
        modes_differ=any(
            abs(score - scores.other_scores[name]) >= 1e-4 for name, score in scores.scores.items()
        ),
        other_mode=statement.OTHER_MODE[scores.mode],
        times=cells,
        lost_credit=_lost_credit(scores, cells),
        columns=shown,
        groups=list(groups(shown)),
        missed=misses,
        overall=[plot for plot in plots if plot.workload is None],
        sections=_sections(scores, cells, misses, plots),
        facts=shared_facts(scores.facts),
        runs=merged_runs(scores),
    )


def _sections(
    scores: Scores,
    cells: Mapping[str, Mapping[str, Cell]],
    misses: Sequence[Missed],
    plots: Sequence[Plot],
) -> list[Section]:
    return [
        Section(
            name,
            f"workload-{number}",
            _facts(scores, name, {submission: row[name] for submission, row in cells.items()})
            | _missed_by(misses, name),
            [plot for plot in plots if plot.workload == name],
        )
        for number, name in enumerate(scores.targets, 1)
    ]


def _facts(scores: Scores, workload: str, cells: Mapping[str, Cell]) -> dict[str, str]:
    target = scores.targets[workload]
    reached = [name for name, cell in cells.items() if math.isfinite(cell.seconds)]
    fastest = [name for name, cell in cells.items() if cell.fastest]
    facts = {
        "Target": f"validation {target}",
        "Budget": fmt.duration(target.budget) if target.budget > 0 else "not known",
        "Reached by": f"{len(reached)} of {fmt.counted(len(cells), 'submission')} "
        "(in the median over studies)",
    }
    if fastest:
        seconds = fmt.seconds(cells[fastest[0]].seconds)
        facts["Fastest"] = f"{_listed(fastest)}, {seconds} s"
    if workload in scores.variants:
        facts["Held out"] = (
            f"a variant of {scores.variants[workload]}, which gives credit only if this is reached "
            "too; not in the score itself"
        )
    elif gates := [name for name, base in scores.variants.items() if base == workload]:
        facts["Credit needs"] = f"{' and '.join(gates)} too"
    return facts


def _missed_by(misses: Sequence[Missed], workload: str) -> dict[str, str]:
    told = [
        f"{miss.submission}: {miss.shortfall}"
        for miss in misses
        if miss.workload == workload and miss.reached < miss.needed
    ]
    return {"Median study missed by": _listed(told, "; ")} if told else {}


def _lost_credit(scores: Scores, cells: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    """One line per workload and reason for which times that were reached give no credit."""
    lost: dict[tuple[str, str], list[str]] = {}
    for name, row in cells.items():
        for workload in scores.base_targets:
            cell = row[workload]
            if cell.no_credit and math.isfinite(cell.seconds):
                lost.setdefault((workload, cell.no_credit), []).append(name)
    return [
        f"{workload}, no credit for {_listed(names)}: {why}"
        for (workload, why), names in lost.items()
    ]


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - NAMES_SHOWN
    return between.join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _breakable(name: str) -> Markup:
    """Long names may be broken after an underscore."""
    text = str(escape(name)).replace(" ", "&nbsp;").replace("_", "_<wbr>")
    return Markup(f'<span class="breakable">{text}</span>')
