"""Performance profiles and the AlgoPerf benchmark score.

Tables of times are (submissions x workloads), seconds, inf = not reached.
"""

import numpy as np
import pandas as pd

# The score integrates the profile over ratios 1..4; a slower submission gets no credit for the
# workload.
MAX_RATIO = 4.0


def ratios_to_best(times: pd.DataFrame) -> pd.DataFrame:
    """r = t / (the pool's best t on that workload); inf if not reached or above 4."""
    best = times.min(axis=0)
    ratios = times.div(best, axis=1).where(np.isfinite(times), np.inf)
    return ratios.mask(ratios > MAX_RATIO, np.inf)


def benchmark_scores(ratios: pd.DataFrame) -> pd.Series:
    """B_s = 1/3 * integral of rho_s from 1 to 4, exactly: mean over workloads of max(0, (4 - r)/3).

    AlgoPerf's own script integrates on 100 points instead, which differs by at most 0.0051.
    """
    return ((MAX_RATIO - ratios) / (MAX_RATIO - 1)).clip(lower=0).mean(axis=1)


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
