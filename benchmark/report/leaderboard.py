"""Who stands where: one place per submission, best score first."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmark.report import format as fmt
from benchmark.scoring import Scores


@dataclass(frozen=True)
class Speedup:
    """How many times faster than a baseline, see `scoring.speedups`; NaN if unknown."""

    baseline: str
    over_all: float
    low: float
    high: float
    over_both: float
    num_both: int

    @property
    def over_all_text(self) -> str:
        """With its interval."""
        return fmt.with_interval(self.over_all, self.low, self.high)

    @property
    def over_both_text(self) -> str:
        """With the number of workloads that both reach."""
        return f"{fmt.ratio(self.over_both)} ({self.num_both})"


@dataclass(frozen=True)
class Place:
    """rank: of equal scores the same. credited: on how many base workloads."""

    rank: int
    submission: str
    score: float
    other_score: float
    credited: int
    speedups: tuple[Speedup, ...]


@dataclass(frozen=True)
class Cell:
    """A time to target in the matrix of submissions and workloads. to_best: divided by the fastest
    one's. no_credit: why there is none, "" where there is some."""

    seconds: float
    to_best: float
    no_credit: str

    @property
    def fastest(self) -> bool:
        return self.to_best == 1


def leaderboard(scores: Scores) -> list[Place]:
    """One place per submission, as ordered in `scores.scores`."""
    credited = Counter(
        row["submission"]
        for row in scores.table.to_dict("records")
        if row["workload"] not in scores.variants and row["no_credit"] == ""
    )
    ranks = {value: rank for rank, value in reversed(list(enumerate(scores.scores.values(), 1)))}
    speedups: dict[str, list[Speedup]] = {}
    for row in scores.speedups.to_dict("records"):
        values = {str(name): value for name, value in row.items() if name != "submission"}
        speedups.setdefault(row["submission"], []).append(Speedup(**values))
    return [
        Place(
            ranks[score],
            name,
            score,
            scores.other_scores[name],
            credited[name],
            tuple(speedups.get(name, ())),
        )
        for name, score in scores.scores.items()
    ]


def times(scores: Scores) -> dict[str, dict[str, Cell]]:
    """By submission and workload, held-out ones included."""
    seconds = scores.by_workload("time_to_target")
    why = scores.by_workload("no_credit").to_dict("index")
    finite = seconds.where(np.isfinite(seconds))
    ratios = finite.div(finite.min(axis=0), axis=1).to_dict("index")
    return {
        str(name): {
            str(workload): Cell(value, ratios[name][workload], why[name][workload])
            for workload, value in row.items()
        }
        for name, row in seconds.to_dict("index").items()
    }


def present_baselines(scores: Scores) -> list[str]:
    return [name for name in scores.baselines if name in scores.scores]
