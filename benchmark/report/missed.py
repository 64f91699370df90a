"""Which targets were missed, and by how much."""

import math
import statistics
from dataclasses import dataclass

from benchmark.report import format as fmt
from benchmark.scoring import Scores, Target


@dataclass(frozen=True)
class Missed:
    """An entry that gets no credit, or a held-out workload that was not reached.

    why: why there is no credit. best, margin: the best validation value of any run and how far it
    is beyond the target, in the metric's unit, below 0 where it falls short, NaN if nothing finite
    was logged; typical_margin: the same of the median study, NaN if that is absent or has none.
    """

    submission: str
    workload: str
    why: str
    reached: int
    studies: int
    target: Target
    best: float
    margin: float
    typical_margin: float

    @property
    def needed(self) -> int:
        """How many studies must reach the target for the median to do so."""
        return self.studies // 2 + 1

    @property
    def shortfall(self) -> str:
        """What the median study lacks, in words."""
        if not math.isfinite(self.margin):
            return "nothing finite was logged"
        if not math.isfinite(self.typical_margin):
            return f"{self.reached} of {self.studies} studies reached it"
        return self.short_by(self.typical_margin)

    def short_by(self, margin: float) -> str:
        """`0.0012 (0.15 %)`: in the metric's unit and relative to the target."""
        if not math.isfinite(margin):
            return fmt.NONE
        if margin >= 0:
            return "met"
        relative = fmt.percent(-margin / abs(self.target.value)) if self.target.value else ""
        return fmt.difference(-margin) + (f" ({relative})" if relative else "")


def missed(scores: Scores) -> list[Missed]:
    """In the order of `scores.table`."""
    margins: dict[tuple[str, str], list[float]] = {}
    for row in scores.studies.to_dict("records"):
        margins.setdefault((row["submission"], row["workload"]), []).append(row["margin"])
    return [
        Missed(
            row["submission"],
            row["workload"],
            row["no_credit"] or "not reached",
            int(row["reached"]),
            int(row["studies"]),
            scores.targets[row["workload"]],
            row["best_validation"],
            row["margin"],
            _typical(margins.get((row["submission"], row["workload"]), []), int(row["studies"])),
        )
        for row in scores.table.to_dict("records")
        if row["no_credit"] or row["time_to_target"] == math.inf
    ]


def _typical(margins: list[float], studies: int) -> float:
    """The median over the studies that count, those without a value behind all others."""
    known = [margin for margin in margins if math.isfinite(margin)]
    padded = [*known, *[-math.inf] * (studies - len(known))]
    middle = statistics.median(padded) if padded else math.nan
    return middle if math.isfinite(middle) else math.nan
