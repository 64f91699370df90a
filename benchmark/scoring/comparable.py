"""Whether the runs of a pool can be compared: times on different hardware, under different budgets
or to different targets cannot.

Batch sizes, frameworks and package versions are the submission's own choice; evaluation periods
shift a time by one period at most. They are reported, not refused.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from benchmark.scoring.facts import hardware_of
from benchmark.scoring.logs import Trial
from benchmark.scoring.targets import Pool, recorded_budget, recorded_target

Value = TypeVar("Value", bound=Hashable)
NAMES_SHOWN = 4


def differences(trials: Sequence[Trial], pool: Pool, self_tuning: bool | None) -> list[str]:
    """One line per thing that differs between runs that are scored together; runs that do not say
    are taken to agree. Among the runs of one workload, but for the hardware, which is asked to be
    the same in the whole pool."""
    found = _differing("hardware", trials, lambda trial: hardware_of(trial.meta) or None)
    for name in pool.targets:
        runs = [trial for trial in trials if trial.where.workload == name]
        found += _differing(
            f"{name}: budget",
            runs,
            lambda trial: recorded_budget(trial, pool.self_tuning_factor, self_tuning),
            lambda seconds: f"{seconds:g} s",
        )
        found += _differing(
            f"{name}: target",
            runs,
            recorded_target,
            lambda target: f"{target[0]} {target[1]:.6g}",
        )
    return found


def other_rules(trials: Sequence[Trial], pool: Pool) -> list[str]:
    """One line per workload whose runs recorded another target than the one that is scored, at
    which they may have ended, or another budget than the pool's version has."""
    found = []
    for name, target in pool.targets.items():
        runs = [trial for trial in trials if trial.where.workload == name]
        recorded = {recorded_target(trial) for trial in runs} - {None}
        others = [said for said in recorded if said and said != (target.metric, target.value)]
        if others:
            listed = ", ".join(f"{metric} {value:.6g}" for metric, value in sorted(others))
            found.append(f"{name}: scored by {target}, but runs were made for {listed}")
        budgets = {recorded_budget(trial, 1.0, False) for trial in runs} - {None}
        if math.isfinite(target.budget) and (had := budgets - {target.budget}):
            listed = ", ".join(f"{seconds:g} s" for seconds in sorted(filter(None, had)))
            found.append(
                f"{name}: the budget of {pool.name} is {target.budget:g} s, but runs had {listed}"
            )
    return found


def _differing(
    what: str,
    trials: Sequence[Trial],
    read: Callable[[Trial], Value | None],
    write: Callable[[Value], str] = str,
) -> list[str]:
    counts: Counter[Value] = Counter()
    submissions: dict[Value, dict[str, None]] = {}
    for trial in trials:
        if (value := read(trial)) is not None:
            counts[value] += 1
            submissions.setdefault(value, {})[trial.where.submission] = None
    if len(counts) < 2:
        return []
    listed = "; ".join(
        f"{write(value)} ({count} run{'s' * (count > 1)}, of {_names(list(submissions[value]))})"
        for value, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    )
    return [f"different {what}: {listed}"]


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
