"""How many times faster than a baseline, with the spread that the studies give.

A speed-up is t_baseline / t: above 1 is faster. AlgoPerf's `compute_speedups.py` prints the inverse
under the same name, over all base workloads, with a miss counted as the budget plus one second
(its budgets are those of v0.5; here they are the pool's).
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmark.scoring import profile
from benchmark.scoring.entries import Entry
from benchmark.scoring.targets import Target

RESAMPLES = 2000
INTERVAL = (0.025, 0.975)


def resampled_medians(studies: Mapping[Entry, Sequence[float]]) -> dict[Entry, np.ndarray]:
    """Per (submission, workload) RESAMPLES medians of studies drawn with replacement (the
    bootstrap; own choice: AlgoPerf gives no spread). The draws depend on the entry's name alone:
    neither on the order of the pool nor on who else is in it."""
    medians = {}
    for (submission, workload), times in studies.items():
        chance = np.random.default_rng(zlib.crc32(f"{submission}/{workload}".encode()))
        values = np.array(times, float)
        drawn = chance.integers(len(values), size=(RESAMPLES, len(values))) if len(values) else None
        medians[submission, workload] = (
            np.full(RESAMPLES, math.inf) if drawn is None else np.median(values[drawn], axis=1)
        )
    return medians


def filled(times: pd.DataFrame, targets: Mapping[str, Target]) -> pd.DataFrame:
    """Misses, and what has no logs, as the budget plus one second; NaN where that is unknown."""
    misses = {name: targets[name].budget + 1 for name in times.columns}
    return times.where(np.isfinite(times), pd.Series(misses), axis=1)


def with_ratios(
    table: pd.DataFrame,
    times: pd.DataFrame,
    medians: Mapping[Entry, np.ndarray],
    targets: Mapping[str, Target],
    baselines: Sequence[str],
) -> pd.DataFrame:
    """The table of entries with `ratio_to_<baseline>`, t / t_baseline, and its 95 % bootstrap
    interval `low_to_<baseline>`, `high_to_<baseline>`, which takes a miss as the budget plus one
    second; NaN if there are misses and no budget, or the ratio is NaN."""
    pairs = list(zip(table["submission"], table["workload"], strict=True))
    for name in baselines:
        ratios = lows = highs = [math.nan] * len(pairs)
        if name in times.index:
            by_name = profile.time_ratios(times, name).to_dict("index")
            ratios = [by_name[submission][workload] for submission, workload in pairs]
            intervals = [
                _interval(
                    _fill(medians[submission, workload], targets[workload].budget)
                    / _fill(medians[name, workload], targets[workload].budget),
                    by_name[submission][workload],
                )
                for submission, workload in pairs
            ]
            lows, highs = zip(*intervals, strict=True)
        table = table.assign(
            **{f"ratio_to_{name}": ratios, f"low_to_{name}": lows, f"high_to_{name}": highs}
        )
    return table


def speedups(
    times: pd.DataFrame,
    medians: Mapping[Entry, np.ndarray],
    targets: Mapping[str, Target],
    baselines: Sequence[str],
) -> pd.DataFrame:
    """One row per baseline that is among the submissions and submission; times of base workloads.

    `over_both`: geometric mean of t_baseline / t over the `num_both` workloads that both reach, NaN
    if there is none. `over_all`: over all of them, a miss as the budget plus one second, NaN if a
    budget that this takes is unknown; `low`, `high`: its 95 % bootstrap interval over studies.
    """
    complete = filled(times, targets)
    rows = []
    for baseline in (name for name in baselines if name in times.index):
        for submission in times.index:
            both = np.isfinite(times.loc[baseline]) & np.isfinite(times.loc[submission])
            ratios = complete.loc[baseline] / complete.loc[submission]
            resampled = [
                _fill(medians[baseline, name], targets[name].budget)
                / _fill(medians[submission, name], targets[name].budget)
                for name in times.columns
            ]
            over_all = _geometric_mean(ratios)
            low, high = _interval(np.exp(np.mean(np.log(resampled), axis=0)), over_all)
            rows.append(
                {
                    "baseline": baseline,
                    "submission": submission,
                    "over_both": _geometric_mean(ratios[both]),
                    "num_both": int(both.sum()),
                    "over_all": over_all,
                    "low": low,
                    "high": high,
                }
            )
    columns = ["baseline", "submission", "over_both", "num_both", "over_all", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _fill(times: np.ndarray, budget: float) -> np.ndarray:
    return np.where(np.isfinite(times), times, budget + 1)


def _geometric_mean(ratios: pd.Series) -> float:
    return float(np.exp(np.log(ratios.to_numpy()).mean())) if len(ratios) else math.nan


def _interval(values: np.ndarray, point: float) -> tuple[float, float]:
    """Percentiles, widened to hold the point: with few studies whose spread is to one side, most
    resampled medians may lie on that side of it."""
    if np.isnan(values).any() or math.isnan(point):
        return math.nan, math.nan
    low, high = np.quantile(values, INTERVAL)
    return min(float(low), point), max(float(high), point)
