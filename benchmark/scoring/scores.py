"""Scores a whole log tree: every submission's times, ratios and AlgoPerf benchmark score."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from rich.console import Console
from rich.progress import track

from benchmark.errors import UserError
from benchmark.scoring import profile
from benchmark.scoring.evals import read_evals
from benchmark.scoring.facts import facts_of, warnings_about
from benchmark.scoring.logs import KEYS, Trial, read_trial
from benchmark.scoring.selection import first_studies, most_studies, select_trials
from benchmark.scoring.targets import Target, targets_from_file, targets_from_logs
from benchmark.scoring.time_to_target import median_over_studies, study_results, trial_results

ENTRY = ["submission", "workload"]
T = TypeVar("T")


@dataclass(frozen=True)
class Scores:
    """Everything a table or a report shows. Times are seconds of accumulated submission time.

    table: one row per (submission, workload), best score first. Columns `submission, workload,
        framework, reached` (number of studies that met the target), `studies` (number required),
        `steps_to_target, time_to_target` (median over studies, inf = not reached),
        `ratio_to_<baseline>` for every asked-for baseline (NaN if the baseline is absent or did
        not reach), `compile_time` (median over studies; of the trial that counts, up to the hit,
        else to its end; NaN if not logged), `best_validation` (over all studies and trials),
        `target` (value), `score` (of the submission, the same in all its rows).
    scores: AlgoPerf benchmark score by submission, best first; relative to the pool scored
        together.
    studies: one row per study, see `time_to_target.study_results`.
    profile: rho(tau), see `profile.performance_profile`.
    curves: one row per evaluation, see `evals.read_evals`, and `counts`: whether it is of the
        trial that counts in its study.
    facts: one row per trial, see `facts.facts_of`.
    """

    root: Path
    targets: dict[str, Target]
    baselines: tuple[str, ...]
    num_studies: int
    table: pd.DataFrame
    scores: dict[str, float]
    studies: pd.DataFrame
    profile: pd.DataFrame
    curves: pd.DataFrame
    facts: pd.DataFrame
    warnings: tuple[str, ...]

    def by_workload(self, column: str) -> pd.DataFrame:
        """One column of `table` as (submissions x workloads), ordered as `scores`, `targets`."""
        wide = self.table.pivot(index="submission", columns="workload", values=column)
        return wide.reindex(index=list(self.scores), columns=list(self.targets))


def score_tree(
    root: str | Path,
    *,
    targets: str | Path | None = None,
    num_studies: int | None = None,
    num_trials: int | None = None,
    baselines: Sequence[str] = ("shampoo", "adamw"),
    submissions: Sequence[str] | None = None,
    workloads: Sequence[str] | None = None,
    framework: str | None = None,
    progress: bool = False,
) -> Scores:
    """Scores the log tree `root` (layout: `logs`).

    targets: a `workload_targets.json`; its base workloads are the pool's, logged or not. By default
        targets and workloads are those that the logs themselves name.
    num_studies: studies required of every entry, absent ones count as not reached; by default as
        many as the entry with the most. Of more the first ones count. num_trials: only the first so
        many trials of a study count.
    submissions, workloads, framework: score these only.
    progress: whether to show a progress bar while reading, where stderr is a terminal.

    Raises UserError (one line) if there is nothing to score or a name is unknown.
    """
    root = Path(root)
    warnings: list[str] = []
    folders = select_trials(root, submissions, workloads, framework)
    trials = [
        read_trial(folder, root, warnings)
        for folder in _tracked(folders, "reading what the runs are", progress)
    ]
    trials = _without_smoke(trials, root, warnings)
    folders = [trial.where for trial in trials]
    names = sorted({folder.submission for folder in folders})
    required = most_studies(folders) if num_studies is None else num_studies
    counted = set(first_studies(folders, required, num_trials, warnings))
    trials = [trial for trial in trials if trial.where in counted]

    if targets is None:
        pool = targets_from_logs(trials, warnings)
    else:
        pool = targets_from_file(Path(targets), trials, warnings)
    by_name = {t.workload: t for t in pool if workloads is None or t.workload in workloads}
    if not by_name:
        raise UserError(f"{root}: no target for any workload found there; give --workload_targets")
    trials = _with_target(trials, by_name, warnings)
    if not trials:
        raise UserError(f"{root}: no logs of {', '.join(by_name)}, the workloads of {targets}")
    folders = [trial.where for trial in trials]

    evals = read_evals(_tracked(folders, "reading evaluations", progress), by_name, root, warnings)
    studies = study_results(trial_results(folders, evals))
    table = _entries(names, by_name, studies, required)
    times = table.pivot(index="submission", columns="workload", values="time_to_target")
    ratios = profile.ratios_to_best(times)
    scores = profile.benchmark_scores(ratios).sort_values(ascending=False, kind="stable").to_dict()
    for name in baselines:
        table[f"ratio_to_{name}"] = _ratios_to(name, times, table, warnings)
    table["score"] = [scores[name] for name in table["submission"]]

    facts = facts_of(trials)
    return Scores(
        root=root,
        targets=by_name,
        baselines=tuple(baselines),
        num_studies=required,
        table=table.sort_values("score", ascending=False, kind="stable", ignore_index=True),
        scores={str(name): float(score) for name, score in scores.items()},
        studies=studies,
        profile=profile.performance_profile(ratios.loc[list(scores)]),
        curves=evals.merge(studies[KEYS].assign(counts=True), how="left", on=KEYS).fillna(
            {"counts": False}
        ),
        facts=facts,
        warnings=(*warnings, *warnings_about(trials, facts)),
    )


def _without_smoke(trials: Sequence[Trial], root: Path, warnings: list[str]) -> list[Trial]:
    """The trials at their workload's own batch sizes and splits."""
    kept = []
    for trial in trials:
        size = trial.flags.get("smoke_batch_size")
        if size is None:
            kept.append(trial)
        else:
            warnings.append(f"{trial.where.name}: made with --smoke_batch_size={size}, left out")
    if not kept:
        raise UserError(f"{root}: all runs were made with --smoke_batch_size: nothing to score")
    return kept


def _tracked(items: Sequence[T], what: str, progress: bool) -> Iterable[T]:
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    return track(items, what, console=console, transient=True, disable=not shown)


def _with_target(
    trials: Sequence[Trial], targets: Mapping[str, Target], warnings: list[str]
) -> list[Trial]:
    """The trials of workloads that have a target; warns of workloads that lack one or the other."""
    logged = {trial.where.workload for trial in trials}
    for name in sorted(set(targets) - logged):
        warnings.append(f"{name}: no logs; counts as not reached by anyone")
    for name in sorted(logged - set(targets)):
        warnings.append(f"{name}: no target; workload not scored")
    return [trial for trial in trials if trial.where.workload in targets]


def _entries(
    names: Sequence[str], targets: Mapping[str, Target], studies: pd.DataFrame, required: int
) -> pd.DataFrame:
    by_entry: dict[Any, pd.DataFrame] = dict(iter(studies.groupby(ENTRY)))
    none = studies.head(0)
    rows = []
    for name in names:
        for workload, target in targets.items():
            entry = by_entry.get((name, workload), none)
            best = entry.sort_values("margin", ascending=False)["best"]
            rows.append(
                {
                    "submission": name,
                    "workload": workload,
                    "framework": "".join(sorted(set(entry["framework"]))),
                    "reached": sum(time < math.inf for time in entry["time"]),
                    "studies": required,
                    "steps_to_target": median_over_studies(list(entry["steps"]), required),
                    "time_to_target": median_over_studies(list(entry["time"]), required),
                    "compile_time": entry["compile_time"].median(),
                    "best_validation": best.iloc[0] if len(best) else math.nan,
                    "target": target.value,
                }
            )
    return pd.DataFrame(rows)


def _ratios_to(
    baseline: str, times: pd.DataFrame, table: pd.DataFrame, warnings: list[str]
) -> list[float]:
    if baseline not in times.index:
        warnings.append(f"baseline {baseline}: no logs; time ratios to it are left out")
        return [math.nan] * len(table)
    ratios = profile.time_ratios(times, baseline).to_dict("index")
    entries = zip(table["submission"], table["workload"], strict=True)
    return [ratios[submission][workload] for submission, workload in entries]
