"""The evaluations of every study, as arrays ready to be drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.scoring import Scores


@dataclass(frozen=True)
class Curve:
    """One study: the evaluations of its trial that counts, those with a finite value only.

    time (seconds), step, value: arrays of one length, in the order of the file. hit: where the
    target is first met, None if never.
    """

    study: int
    time: np.ndarray
    step: np.ndarray
    value: np.ndarray
    hit: int | None


def curves(scores: Scores) -> dict[str, dict[str, list[Curve]]]:
    """By workload and submission; those without any evaluation are absent."""
    # Finite values are those with a margin to the target.
    drawn = scores.curves["counts"].to_numpy(bool) & np.isfinite(scores.curves["margin"])
    counted = scores.curves.loc[drawn]
    found: dict[str, dict[str, list[Curve]]] = {}
    columns = {name: counted[name].to_numpy() for name in ("time", "step", "value", "margin")}
    groups: dict[Any, Any] = counted.groupby(["workload", "submission", "study"]).indices
    for (workload, submission, study), rows in groups.items():
        met = np.flatnonzero(columns["margin"][rows] >= 0)
        curve = Curve(
            int(study),
            columns["time"][rows],
            columns["step"][rows],
            columns["value"][rows],
            int(met[0]) if len(met) else None,
        )
        found.setdefault(workload, {}).setdefault(submission, []).append(curve)
    return found
