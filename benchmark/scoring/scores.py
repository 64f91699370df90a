"""Scores a whole log tree: every submission's times, ratios and AlgoPerf benchmark score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.scoring import profile, speedups
from benchmark.scoring.differences import Difference, differences
from benchmark.scoring.entries import Entry
from benchmark.scoring.facts import facts_of
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import KEYS
from benchmark.scoring.profile import Integral
from benchmark.scoring.reading import Reading, read_in_mode
from benchmark.scoring.targets import Pool, Target
from benchmark.scoring.time_to_target import Mode
from benchmark.scoring.tree import Selection, Tree, read_tree


@dataclass(frozen=True)
class Scores:
    """Everything a table or a report shows. Times are seconds of accumulated submission time.

    mode, integral: how it was scored, see `time_to_target` and `profile.benchmark_scores`.
    targets: by workload, the base workloads first, then the held-out ones; variants: by held-out
        workload its base workload. The score is over the base workloads.
    pool: where the workloads come from. num_studies: required of an entry.
    table: one row per (submission, workload), best score first. Columns `submission, workload,
        framework, reached` (number of studies that met the target), `studies` (number required; in
        mode official of those with logs), `steps_to_target, time_to_target` (median over studies,
        inf = not reached, NaN = no logs, in mode official alone), `time_min, time_max` (over
        studies), `compile_time` (median over studies; of the trial that counts, up to the hit, else
        to its end; NaN if not logged), `best_validation, margin` (the best over all studies and
        trials, and how far it is beyond the target, in the metric's unit: below 0 where missed),
        `target` (value), `ratio_to_<baseline>` for every asked-for baseline (time divided by the
        baseline's, NaN if that is absent or did not reach) with `low_to_...`, `high_to_...` (95 %
        bootstrap interval over studies), `no_credit` (why the score gives none, "" where it does or
        the workload is held out), `score` (of the submission, the same in all its rows).
    scores: AlgoPerf benchmark score by submission, best first; relative to the pool scored
        together. other_scores: those of the other mode, by the same integral.
    differences: entries whose times differ between the modes.
    speedups: see `speedups.speedups`.
    studies: one row per study, see `time_to_target.study_results`.
    profile: rho(tau), see `profile.performance_profile`.
    curves: one row per evaluation, see `evals.read_evals`, and `counts`: whether it is of the
        trial that counts in its study.
    facts: one row per trial, see `facts.facts_of`.
    warnings: all that was found; left_out: those about what was not scored or is absent; mixed:
        those about runs that do not compare (`allow_mixed`).
    """

    root: Path
    mode: Mode
    integral: Integral
    pool: str
    targets: dict[str, Target]
    variants: dict[str, str]
    baselines: tuple[str, ...]
    num_studies: int
    table: pd.DataFrame
    scores: dict[str, float]
    other_scores: dict[str, float]
    differences: tuple[Difference, ...]
    speedups: pd.DataFrame
    studies: pd.DataFrame
    profile: pd.DataFrame
    curves: pd.DataFrame
    facts: pd.DataFrame
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    mixed: tuple[str, ...]

    @property
    def base_targets(self) -> dict[str, Target]:
        """Of the workloads that the score is over."""
        return {name: self.targets[name] for name in self.targets if name not in self.variants}

    def by_workload(self, column: str) -> pd.DataFrame:
        """One column of `table` as (submissions x workloads), ordered as `scores`, `targets`."""
        wide = self.table.pivot(index="submission", columns="workload", values=column)
        return wide.reindex(index=list(self.scores), columns=list(self.targets))


def score_tree(
    root: str | Path,
    *,
    targets: str | Path | None = None,
    mode: Mode = "fastest",
    integral: Integral | None = None,
    self_tuning: bool | None = None,
    num_studies: int | None = None,
    num_trials: int | None = None,
    baselines: Sequence[str] = ("shampoo", "adamw"),
    submissions: Sequence[str] | None = None,
    workloads: Sequence[str] | None = None,
    framework: str | None = None,
    allow_mixed: bool = False,
    progress: bool = False,
) -> Scores:
    """Scores the log tree `root` (layout: `logs`).

    targets: a version of AlgoPerf ("v0.5", "v0.6", "2026") or a `workload_targets.json`; its base
        workloads are the pool's, logged or not. By default targets and workloads are those that the
        logs themselves name.
    mode, integral: see `time_to_target` and `profile.benchmark_scores`; by default the integral is
        exact in mode fastest and grid100, the script's, in mode official.
    self_tuning: whether by that ruleset: only trial 1 counts, and budgets are larger. None: as the
        runs say.
    num_studies: studies required of every entry, of more the first ones count; by default what the
        version requires, else as many as the entry with the most has. num_trials: only the first so
        many trials of a study count. In mode official all that is there counts by default.
    submissions, workloads, framework: score these only.
    allow_mixed: score runs of different hardware, budgets or targets all the same.
    progress: whether to show a progress bar while reading, where stderr is a terminal.

    Raises UserError (one line) if there is nothing to score, a name is unknown or runs do not
    compare.
    """
    integral = integral or ("exact" if mode == "fastest" else "grid100")
    findings = Findings()
    chosen = Selection(
        targets=targets,
        mode=mode,
        self_tuning=self_tuning,
        num_studies=num_studies,
        num_trials=num_trials,
        submissions=submissions,
        workloads=workloads,
        framework=framework,
        allow_mixed=allow_mixed,
    )
    tree = read_tree(Path(root), chosen, findings, progress)
    fastest = read_in_mode(tree, "fastest", integral)
    official = read_in_mode(tree, "official", integral)
    shown, other = (fastest, official) if mode == "fastest" else (official, fastest)
    for name in baselines:
        if name not in tree.submissions:
            findings.note(f"baseline {name}: no logs; time ratios to it are left out")
    _tell_of_late_hits(shown.studies, tree.pool, findings)
    order = shown.scores.index
    medians = speedups.resampled_medians(shown.study_times)
    pool = tree.pool
    base = [name for name in pool.targets if name not in pool.variants]
    return Scores(
        root=Path(root),
        mode=mode,
        integral=integral,
        pool=pool.name,
        targets=dict(pool.targets),
        variants=dict(pool.variants),
        baselines=tuple(baselines),
        num_studies=tree.num_studies,
        table=_table(shown, medians, pool.targets, baselines),
        scores=_plain(shown.scores),
        other_scores=_plain(other.scores.reindex(order)),
        differences=tuple(differences(fastest, official, tree.num_studies)),
        speedups=speedups.speedups(shown.times.loc[order, base], medians, pool.targets, baselines),
        studies=shown.studies,
        profile=profile.performance_profile(shown.ratios.loc[order]),
        curves=_curves(tree, shown),
        facts=facts_of(tree.trials_in(mode)),
        warnings=findings.texts,
        left_out=findings.left_out,
        mixed=tuple(tree.mixed),
    )


def _tell_of_late_hits(studies: pd.DataFrame, pool: Pool, findings: Findings) -> None:
    for study in studies.to_dict("records"):
        budget = pool.targets[study["workload"]].budget
        if budget < study["time"] < math.inf:
            findings.note(
                f"{study['submission']}/study_{study['study']}, {study['workload']}: the target "
                f"was met after the budget ({study['time']:.6g} of {budget:.6g} s), which counts: "
                "the harness looks at the budget only when it evaluates"
            )


def _table(
    reading: Reading,
    medians: Mapping[Entry, np.ndarray],
    targets: Mapping[str, Target],
    baselines: Sequence[str],
) -> pd.DataFrame:
    """The entries with what comes of comparing them, best score first."""
    table = speedups.with_ratios(reading.table, reading.times, medians, targets, baselines)
    why = reading.no_credit.to_dict("index")
    pairs = zip(table["submission"], table["workload"], strict=True)
    table = table.assign(
        no_credit=[why[submission].get(workload, "") for submission, workload in pairs],
        score=[reading.scores[submission] for submission in table["submission"]],
    )
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _curves(tree: Tree, reading: Reading) -> pd.DataFrame:
    chosen = reading.studies[KEYS].assign(counts=True)
    return tree.evals.merge(chosen, how="left", on=KEYS).fillna({"counts": False})


def _plain(scores: pd.Series) -> dict[str, float]:
    return {str(name): float(score) for name, score in scores.items()}
