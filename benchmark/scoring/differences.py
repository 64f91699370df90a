"""Where AlgoPerf's written rules and its script give an entry different times, and why."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.scoring.entries import ENTRY
from benchmark.scoring.reading import Reading
from benchmark.scoring.time_to_target import STUDY, Mode


@dataclass(frozen=True)
class Difference:
    """times: seconds by mode, inf = not reached, NaN = no logs (mode official)."""

    submission: str
    workload: str
    times: Mapping[Mode, float]
    why: str

    def __str__(self) -> str:
        rules, script = (_seconds(self.times[mode]) for mode in ("fastest", "official"))
        return (
            f"{self.submission}, {self.workload}: {rules} by the rules (--mode=fastest), "
            f"{script} by the official script (--mode=official): {self.why}"
        )


def differences(fastest: Reading, official: Reading, required: int) -> list[Difference]:
    """Of the entries that have logs; required: studies of an entry."""
    rules: dict[Any, pd.DataFrame] = dict(iter(fastest.studies.groupby(ENTRY)))
    script: dict[Any, pd.DataFrame] = dict(iter(official.studies.groupby(ENTRY)))
    ties = _ties(official.trials)
    found = []
    for (submission, workload), studies in rules.items():
        times: dict[Mode, float] = {
            reading.mode: float(reading.times.loc[submission, workload])
            for reading in (fastest, official)
        }
        # Never reached and no logs are the same: no credit.
        never = not any(map(math.isfinite, times.values()))
        if times["fastest"] != times["official"] and not never:
            why = _reasons(studies, script[submission, workload], required, ties)
            found.append(Difference(submission, workload, times, why))
    return found


def _reasons(fastest: pd.DataFrame, official: pd.DataFrame, required: int, ties: set[tuple]) -> str:
    reasons = []
    if (absent := required - sum(official["evaluated"])) > 0:
        reasons.append(
            f"of {required} studies {absent} absent, which the rules count as not reached and the "
            "script drops from the median"
        )
    more = len(official) - len(fastest)
    if more > 0:
        reasons.append(f"the script takes {more} studies more than the {required} of the rules")
    swaps, tied = [], []
    chosen_in = {row["study"]: row for row in official.to_dict("records")}
    for quick in fastest.to_dict("records"):
        chosen = chosen_in[quick["study"]]
        if quick["time"] == chosen["time"]:
            continue
        study = f"study_{chosen['study']}"
        swaps.append(f"{_hit(chosen)} instead of {_hit(quick)} in {study}")
        if tuple(chosen[key] for key in STUDY) in ties:
            tied.append(study)
    if swaps:
        reasons.append(
            "the script takes the trial that meets the target at the lowest row of its file, not "
            "the fastest: " + ", ".join(swaps)
        )
    if tied:
        reasons.append(
            f"rows tie in {', '.join(tied)}, where the script takes the first one that the file "
            "system happens to list"
        )
    return "; ".join(reasons)


def _hit(trial: Mapping[Any, Any]) -> str:
    if math.isinf(trial["time"]):
        return f"trial_{trial['trial']} (not reached)"
    evaluation, time = trial["row"] + 1, _seconds(trial["time"])
    return f"trial_{trial['trial']} (evaluation {evaluation:.0f}, {time})"


def _ties(trials: pd.DataFrame) -> set[tuple]:
    """The studies where several trials meet the target at the lowest row."""
    hits = trials.query("row < inf").reset_index()
    hits["lowest"] = hits.groupby(STUDY)["row"].transform("min")
    counts = hits.query("row == lowest").groupby(STUDY).size().to_dict()
    return {study for study, count in counts.items() if count > 1}


def _seconds(time: float) -> str:
    if math.isnan(time):
        return "no time"
    return "not reached" if math.isinf(time) else f"{time:.9g} s"
