"""What was found and how it was scored, in a few sentences."""

import textwrap
from collections.abc import Mapping

from benchmark.report import format as fmt
from benchmark.scoring import Scores

# Fewer studies than these rank nothing: seeds differ by more than optimizers do.
RANKING_STUDIES = 5
MODES: Mapping[str, str] = {
    "fastest": "AlgoPerf's written rules (mode fastest): of a study's trials the fastest counts, "
    "of the required studies the median; an absent one counts as not reached",
    "official": "as AlgoPerf's script does (mode official): of a study's trials the one that meets "
    "the target at the lowest row counts, of the studies that have logs the median",
}
OTHER_MODE = {"fastest": "official", "official": "fastest"}
INTEGRALS: Mapping[str, str] = {
    "exact": "the exact area under the performance profile from τ = 1 to 4, divided by 3",
    "grid100": "the area under the performance profile from τ = 1 to 4, divided by 3, by the "
    "trapezoid rule on the official script's 100 points",
}
NAMES_SHOWN = 3
SHORT = 190


def result(scores: Scores) -> str:
    """Who has the highest score, in one sentence."""
    best = max(scores.scores.values())
    names = [name for name, score in scores.scores.items() if score == best]
    among = (
        f"on {fmt.counted(len(scores.base_targets), 'workload')}, "
        f"{fmt.counted(scores.num_studies, 'study', 'studies')} each"
    )
    if best == 0:
        told = "The only submission" if len(scores.scores) == 1 else "No submission"
        verb = "did not reach" if len(scores.scores) == 1 else "reached"
        return f"{told} {verb} a target for credit, {among}."
    if len(scores.scores) == 1:
        return (
            f"{names[0]}, scored alone, has the AlgoPerf benchmark score {fmt.score(best)} {among}."
        )
    shown = ", ".join(names[:NAMES_SHOWN])
    if (more := len(names) - NAMES_SHOWN) > 0:
        shown += f" and {more} more"
    have = "has" if len(names) == 1 else "have"
    return (
        f"{shown} {have} the highest AlgoPerf benchmark score, {fmt.score(best)}, "
        f"of {len(scores.scores)} submissions {among}."
    )


def how_scored(scores: Scores) -> dict[str, str]:
    """Heading and sentence of everything that a score depends on."""
    base = list(scores.base_targets)
    told = {
        "Times": MODES[scores.mode],
        "Score": f"{INTEGRALS[scores.integral]}; relative to the submissions scored together, so "
        "that scores of different pools do not compare",
        "Studies": f"{scores.num_studies} required of every entry"
        if scores.mode == "fastest"
        else f"up to {scores.num_studies} per entry",
        "Workloads": f"{len(base)}, {_source(scores.pool)}: {', '.join(base)}",
    }
    if scores.variants:
        gates = ", ".join(f"{name} ({of})" for name, of in scores.variants.items())
        told["Held-out gates"] = (
            "a workload gives credit only if its variant is reached too, within 4 times the best "
            f"time on it: {gates}"
        )
    return told


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


def mixed_line(scores: Scores) -> str:
    """The mark of a report of runs that do not compare; empty if they do."""
    if not scores.mixed:
        return ""
    return f"MIXED, times do not compare: {'. '.join(scores.mixed)}"


def differing_lines(scores: Scores, shown: int = 2) -> list[str]:
    """How many entries the modes give different times, and the first few of them, cut short."""
    if not (count := len(scores.differences)):
        return []
    told = "1 entry differs" if count == 1 else f"{count} entries differ"
    cut = [
        "  " + textwrap.shorten(str(difference), SHORT, placeholder=" ...")
        for difference in scores.differences[:shown]
    ]
    return [f"{told} between the rules and the official script: see the report", *cut]


def _source(pool: str) -> str:
    return "those that the logs name" if pool == "as logged" else f"those of {pool}"
