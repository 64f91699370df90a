"""From evaluations to one time per submission and workload.

There are two readings, the modes:

* `fastest`, AlgoPerf's written rules: a study's time is that of its fastest trial; what is absent
  or never met is infinite; a workload's time is the median over the required number of studies.
* `official`, AlgoPerf's script (mlcommons/submissions_algorithms 12c8e4ea,
  scoring/performance_profile.py): a study's time is that of the trial that meets the target at the
  lowest row of its file, the clock unseen; on a tie the first one listed, here in the order of the
  folders' names (the script takes the file system's); absent studies are dropped from the median.

A trial's time is that of its first evaluation that meets the validation target.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from benchmark.scoring.logs import KEYS, TrialDir

Mode = Literal["fastest", "official"]
MODES: tuple[Mode, ...] = get_args(Mode)

STUDY = ["submission", "workload", "study"]
_FIRST: dict[Mode, list[str]] = {"fastest": ["time", "trial"], "official": ["row", "name"]}


def trial_results(trials: Iterable[TrialDir], evals: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """One row per trial, indexed by KEYS; evals as from `evals.read_evals`.

    `time` (seconds), `steps`, `row`: at the first evaluation that meets the target, else inf. First
    by the clock in mode fastest, in the file in mode official; they differ in files out of order.
    `compile_time`: seconds of compilation up to that evaluation, else up to the last one, NaN if
    not logged. `margin`, `best`: of the evaluation with the best finite value, NaN if there is no
    such value. `evaluated`: whether it has any evaluation.
    """
    first = "time" if mode == "fastest" else "row"
    hits = evals.query("margin >= 0").sort_values(first, kind="stable")
    hits = hits.drop_duplicates(KEYS).set_index(KEYS)
    last = evals.drop_duplicates(KEYS, keep="last").set_index(KEYS)
    best = evals.sort_values("margin", ascending=False, kind="stable").drop_duplicates(KEYS)
    best = best.dropna(subset="margin").set_index(KEYS)

    index = pd.MultiIndex.from_tuples(
        [tuple(getattr(where, key) for key in KEYS) for where in trials], names=KEYS
    )
    at_hit, at_end = hits.reindex(index), last.reindex(index)
    return pd.DataFrame(
        {
            "time": at_hit["time"].fillna(math.inf),
            "steps": at_hit["step"].fillna(math.inf),
            "row": at_hit["row"].fillna(math.inf),
            "compile_time": at_hit["compile_time"].where(
                at_hit["row"].notna(), at_end["compile_time"]
            ),
            "margin": best["margin"].reindex(index),
            "best": best["value"].reindex(index),
            "evaluated": at_end["row"].notna(),
        }
    )


def study_results(trials: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """One row per study, KEYS as columns: the row of `trial_results` of the trial that counts.

    That is the one the mode chooses; if none met the target, the one that came closest. `margin`
    and `best` are the best of any trial, `evaluated` is whether any has evaluations. `steps` are
    those of the trial that counts in mode official, the fewest of any in mode fastest.
    """
    ranked = trials.reset_index()
    ranked["name"] = "trial_" + ranked["trial"].astype(str)
    # Among trials that met the target it is the mode that chooses, else the closest counts.
    met = ranked.query("row < inf").sort_values(_FIRST[mode], kind="stable")
    others = ranked.query("row == inf").sort_values("margin", ascending=False, kind="stable")
    ranked = pd.concat([met, others])
    chosen = ranked.drop_duplicates(STUDY).set_index(STUDY).sort_index()
    by_study = ranked.groupby(STUDY)
    closest = ranked.sort_values("margin", ascending=False, kind="stable").drop_duplicates(STUDY)
    if mode == "fastest":
        chosen["steps"] = by_study["steps"].min()
    chosen[["margin", "best"]] = closest.set_index(STUDY)[["margin", "best"]]
    chosen["evaluated"] = by_study["evaluated"].any()
    return chosen.drop(columns="name").reset_index()


def counted(studies: pd.DataFrame, column: str, required: int, mode: Mode) -> list[float]:
    """The values of one entry's studies that its median is taken over, absent ones infinite in
    mode fastest and dropped in mode official."""
    if mode == "official":
        return studies.loc[studies["evaluated"], column].tolist()
    return [*studies[column], *[math.inf] * (required - len(studies))]


def median(values: Sequence[float]) -> float:
    """NaN of no values; the mean of the middle two of an even number."""
    return float(np.median(values)) if len(values) else math.nan
