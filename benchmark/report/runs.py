"""Hardware, versions, batch sizes, seeds and hyperparameters of every run, told once where runs
agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.report import format as fmt
from benchmark.scoring import FACTS, Scores

# What is told once for all runs; the rest differs from run to run and goes into the list of runs.
SHARED_FACTS = {
    "hardware": "Hardware",
    "system": "System",
    "python": "Python",
    "packages": "Packages",
    "commit": "Commit",
    "ruleset": "Tuning ruleset",
}
# These nearly always differ: runs that differ in them only share a row, which lists them.
LISTED = ["seed", "end"]
WHERE = ["submission", "framework"]
SEEDS_SHOWN = 5


@dataclass(frozen=True)
class Runs:
    """headings: of the columns; rows: of text, one per group of runs that agree."""

    count: int
    headings: list[str]
    rows: list[list[str]]


def shared_facts(facts: pd.DataFrame) -> dict[str, list[str]]:
    """Every fact's distinct values, the commonest first, with counts where runs differ."""
    told = {}
    for fact, heading in SHARED_FACTS.items():
        counts = Counter(value for value in facts[fact] if value)
        told[heading] = [
            value if count == len(facts) else f"{value} ({count:,} of {len(facts):,} runs)"
            for value, count in counts.most_common()
        ] or ["not logged"]
    return told


def merged_runs(scores: Scores) -> Runs:
    """The runs, those of a submission that agree in all but workload, study, trial and LISTED in
    one row."""
    facts = scores.facts
    told = [fact for fact in FACTS if fact not in LISTED and any(facts[fact])]
    varied = [fact for fact in told if fact not in SHARED_FACTS or len(set(facts[fact])) > 1]
    listed = [fact for fact in LISTED if any(facts[fact])]
    rows = []
    groups: dict[Any, Any] = dict(iter(facts.groupby([*WHERE, *varied], sort=False)))
    for key, runs in groups.items():
        names = [str(part) or fmt.NONE for part in key]
        rows.append(
            [
                *names[: len(WHERE)],
                _workloads(runs["workload"], list(scores.targets)),
                fmt.runs_of_numbers(runs["study"]),
                fmt.runs_of_numbers(runs["trial"]),
                f"{len(runs):,}",
                *names[len(WHERE) :],
                *(_list(fact, list(runs[fact])) for fact in listed),
            ]
        )
    place = ["workloads", "studies", "trials", "runs"]
    headings = [*WHERE, *place, *(fact.replace("_", " ") for fact in [*varied, *listed])]
    return Runs(len(facts), headings, rows)


def _workloads(names: pd.Series, known: Sequence[str]) -> str:
    found = set(names)
    if len(known) > 1 and len(found) == len(known):
        return f"all {len(known)}"
    return ", ".join(name for name in known if name in found)


def _list(fact: str, values: Sequence[str]) -> str:
    """Distinct values; of seeds the first few, of ends with how many runs each."""
    counts = Counter(value or "not logged" for value in values)
    if fact == "end":
        return ", ".join(
            end if len(counts) == 1 else f"{end} {count:,}" for end, count in counts.most_common()
        )
    shown = list(counts)
    if len(shown) > SEEDS_SHOWN:
        return f"{', '.join(shown[:SEEDS_SHOWN])} and {len(shown) - SEEDS_SHOWN:,} more"
    return ", ".join(shown)
