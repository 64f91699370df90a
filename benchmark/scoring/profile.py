"""Performance profiles and the AlgoPerf benchmark score.

Tables of times are (submissions x workloads), seconds, inf = not reached, NaN = no logs.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd

# The score integrates the profile over ratios 1..4; a slower submission gets no credit for the
# workload.
MAX_RATIO = 4.0
GRID_POINTS = 100

Integral = Literal["exact", "grid100"]
INTEGRALS: tuple[Integral, ...] = get_args(Integral)


def apply_gates(
    times: pd.DataFrame, variants: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The base workloads' times that get credit, inf elsewhere, and why there is none.

    variants: by held-out workload its base workload. The rules of v0.5, in the script's order: a
    variant counts only if its base was reached; nothing counts beyond 4 times the pool's best on
    it, whatever becomes of that best one; a base counts only if its variants do.
    """
    credit = times.fillna(np.inf)
    for variant, base in variants.items():
        credit[variant] = credit[variant].where(np.isfinite(credit[base]), np.inf)
    slow = credit.gt(MAX_RATIO * credit.min(axis=0), axis=1) & np.isfinite(credit)
    credit = credit.mask(slow, np.inf)

    bases = [name for name in times.columns if name not in variants]
    why = pd.DataFrame("", index=times.index, columns=bases).mask(
        ~np.isfinite(times[bases]), "not reached"
    )
    why = why.mask(slow[bases], f"over {MAX_RATIO:g} times the best")
    for variant, base in variants.items():
        missed = ~np.isfinite(credit[variant])
        reason = np.where(slow[variant], f"over {MAX_RATIO:g} times the best", "not reached")
        told = pd.Series([f"{variant} {text}" for text in reason], index=times.index)
        why[base] = why[base].mask(missed & (why[base] == ""), told)
        credit[base] = credit[base].mask(missed, np.inf)
    return credit.loc[:, bases], why


def ratios_to_best(credit: pd.DataFrame) -> pd.DataFrame:
    """r = t / (the best t among those with credit on that workload); inf without credit."""
    best = credit.min(axis=0)
    ratios = credit.div(best, axis=1).where(np.isfinite(credit), np.inf)
    return ratios.mask(ratios > MAX_RATIO, np.inf)


def benchmark_scores(ratios: pd.DataFrame, integral: Integral = "exact") -> pd.Series:
    """B_s = 1/3 * integral of rho_s from 1 to 4.

    exact: the mean over workloads of max(0, (4 - r)/3). grid100: as AlgoPerf's own script has it,
    the trapezoid rule on 100 points, which differs by at most 0.0051.
    """
    if integral == "exact":
        return ((MAX_RATIO - ratios) / (MAX_RATIO - 1)).clip(lower=0).mean(axis=1)
    grid = np.linspace(1.0, MAX_RATIO, GRID_POINTS)
    rho = (ratios.to_numpy()[:, :, None] <= grid).mean(axis=1)
    return pd.Series(np.trapezoid(rho, grid) / (MAX_RATIO - 1), index=ratios.index)


def performance_profile(ratios: pd.DataFrame) -> pd.DataFrame:
    """rho_s(tau), the fraction of workloads with r <= tau; columns: submissions.

    Index: tau at every jump, 1 and 4; between two of them rho keeps the value of the left one.
    """
    jumps = ratios.to_numpy().ravel()
    taus = np.unique([1.0, *jumps[np.isfinite(jumps)], MAX_RATIO])
    rho = {name: [(row <= tau).mean() for tau in taus] for name, row in ratios.iterrows()}
    return pd.DataFrame(rho, index=pd.Index(taus, name="tau"))


def time_ratios(times: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """t / t_baseline on each workload, below 1 is faster.

    inf if only the baseline reached the target, NaN if the baseline did not.
    """
    reference = times.loc[baseline]
    return times.div(reference.where(np.isfinite(reference)), axis=1)
