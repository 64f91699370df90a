"""From evaluations to one time per submission and workload, as AlgoPerf's rules have it.

A trial's time is that of its first evaluation that meets the validation target, a study's that of
its fastest trial, a workload's the median over the required number of studies. What is absent or
never met is infinite. Steps to target are counted in the same way, each on its own: the trial with
the fewest steps need not be the fastest one.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from benchmark.scoring.logs import KEYS, TrialDir

STUDY = ["submission", "workload", "study"]


def trial_results(trials: Iterable[TrialDir], evals: pd.DataFrame) -> pd.DataFrame:
    """One row per trial, indexed by KEYS; evals as from `evals.read_evals`.

    `time` (seconds), `steps`: at the first evaluation that meets the target, else inf.
    `compile_time`: seconds of compilation up to that evaluation, else up to the last one, NaN if
    not logged. `margin`, `best`: of the evaluation with the best finite value, NaN if there is no
    such value.
    """
    hits = evals.query("margin >= 0").drop_duplicates(KEYS).set_index(KEYS)
    last = evals.drop_duplicates(KEYS, keep="last").set_index(KEYS)
    best = evals.sort_values("margin", ascending=False, kind="stable").drop_duplicates(KEYS)
    best = best.dropna(subset="margin").set_index(KEYS)

    index = pd.MultiIndex.from_tuples(
        [tuple(getattr(where, key) for key in KEYS) for where in trials], names=KEYS
    )
    results = pd.DataFrame(index=index)
    results["time"] = hits["time"].reindex(index, fill_value=math.inf)
    results["steps"] = hits["step"].reindex(index, fill_value=math.inf)
    compiled = hits["compile_time"].reindex(index)
    at_end = ~index.isin(hits.index)
    results["compile_time"] = compiled.mask(at_end, last["compile_time"].reindex(index))
    results["margin"] = best["margin"].reindex(index)
    results["best"] = best["value"].reindex(index)
    return results


def study_results(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per study, KEYS as columns: the row of `trial_results` of the trial that counts.

    That is the fastest trial; if none met the target, the one that came closest. `steps` are the
    fewest of any trial, `margin` and `best` the best of any.
    """
    ranked = trials.reset_index().sort_values(
        ["time", "margin", "trial"], ascending=[True, False, True], kind="stable"
    )
    chosen = ranked.drop_duplicates(STUDY).set_index(STUDY).sort_index()
    closest = ranked.sort_values("margin", ascending=False, kind="stable").drop_duplicates(STUDY)
    chosen["steps"] = ranked.groupby(STUDY)["steps"].min()
    chosen[["margin", "best"]] = closest.set_index(STUDY)[["margin", "best"]]
    return chosen.reset_index()


def median_over_studies(values: Sequence[float], num_studies: int) -> float:
    """The median of `num_studies` values, absent ones infinite."""
    return float(np.median([*values, *[math.inf] * (num_studies - len(values))]))
