"""What a tree comes to in one of the two modes: times by study and by entry, credit, scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.scoring import profile
from benchmark.scoring.entries import Entry, entries
from benchmark.scoring.profile import Integral
from benchmark.scoring.time_to_target import Mode, study_results, trial_results
from benchmark.scoring.tree import Tree


@dataclass(frozen=True)
class Reading:
    """A tree in one mode.

    trials, studies: see `time_to_target`. table: one row per entry, see `entries`; study_times: by
    entry the studies' times that its median is over. times: (submissions x workloads), seconds.
    no_credit: (submissions x base workloads), why the score gives none, see `profile.apply_gates`.
    ratios: to the best with credit. scores: by submission, best first.
    """

    mode: Mode
    trials: pd.DataFrame
    studies: pd.DataFrame
    table: pd.DataFrame
    study_times: Mapping[Entry, Sequence[float]]
    times: pd.DataFrame
    no_credit: pd.DataFrame
    ratios: pd.DataFrame
    scores: pd.Series


def read_in_mode(tree: Tree, mode: Mode, integral: Integral) -> Reading:
    """integral: see `profile.benchmark_scores`."""
    targets = tree.pool.targets
    trials = trial_results(tree.counted[mode], tree.evals, mode)
    studies = study_results(trials, mode)
    table, study_times = entries(tree.submissions, targets, studies, tree.num_studies, mode)
    times = table.pivot(index="submission", columns="workload", values="time_to_target")
    times = times.reindex(columns=list(targets))
    credit, no_credit = profile.apply_gates(times, tree.pool.variants)
    ratios = profile.ratios_to_best(credit)
    scores = profile.benchmark_scores(ratios, integral)
    return Reading(
        mode,
        trials,
        studies,
        table,
        study_times,
        times,
        no_credit,
        ratios,
        scores.sort_values(ascending=False, kind="stable"),
    )
