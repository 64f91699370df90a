"""Fills the page template. The page needs no network: plots are SVG images inside it."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.report.style import looks
from benchmark.report.table import caveat, columns, target_lines
from benchmark.scoring import FACTS, Scores

TEMPLATE = "report.html.j2"
# What is told once for all runs; the rest differs from run to run and goes into the list of runs.
SHARED_FACTS = {
    "hardware": "Hardware",
    "system": "System",
    "python": "Python",
    "packages": "Packages",
    "commit": "Commit",
    "ruleset": "Tuning ruleset",
}


@dataclass(frozen=True)
class Plot:
    """A drawn plot. workload: None for a plot over all of them."""

    title: str
    workload: str | None
    svg: bytes

    @property
    def uri(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


def render(scores: Scores, plots: Sequence[Plot]) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = columns(scores)
    by_workload = {
        workload: [plot for plot in plots if plot.workload == workload]
        for workload in scores.targets
    }
    return environment.get_template(TEMPLATE).render(
        scores=scores,
        columns=shown,
        rows=list(zip(*(column.cells for column in shown), strict=True)),
        looks=looks(scores.scores),
        targets=target_lines(scores),
        caveat=caveat(scores),
        plots=by_workload,
        profile=[plot for plot in plots if plot.workload is None],
        facts=_shared_facts(scores),
        runs=_runs(scores),
        run_columns=_run_columns(scores),
    )


def _shared_facts(scores: Scores) -> dict[str, list[str]]:
    """Every fact's distinct values, the commonest first, with counts where runs differ."""
    runs = len(scores.facts)
    told = {}
    for fact, heading in SHARED_FACTS.items():
        counts = Counter(value for value in scores.facts[fact] if value)
        told[heading] = [
            value if count == runs else f"{value} ({count} of {runs} runs)"
            for value, count in counts.most_common()
        ] or ["not logged"]
    return told


def _run_columns(scores: Scores) -> list[str]:
    names = ["submission", "workload", "framework", "study", "trial"]
    told = [fact for fact in FACTS if any(scores.facts[fact])]
    varied = [fact for fact in told if fact not in SHARED_FACTS or len(set(scores.facts[fact])) > 1]
    return names + varied


def _runs(scores: Scores) -> list[list[str]]:
    return scores.facts[_run_columns(scores)].astype(str).to_numpy().tolist()
