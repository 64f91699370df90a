"""Reads a log tree: which trials count, against which targets, and what they logged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from rich.console import Console
from rich.progress import track

from benchmark.errors import UserError, one_line
from benchmark.scoring import comparable
from benchmark.scoring.evals import read_evals
from benchmark.scoring.facts import tell_of_runs
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import Trial, TrialDir, read_trial
from benchmark.scoring.selection import (
    first_studies,
    most_studies,
    only_trial_1,
    select_trials,
    tell_of_absent,
    without_smoke,
)
from benchmark.scoring.targets import (
    Pool,
    is_self_tuning,
    pool_from_file,
    pool_from_logs,
    pool_of_version,
    with_budgets,
)
from benchmark.scoring.time_to_target import MODES, Mode
from workloads_overrides import canonical
from workloads_overrides.targets import POOLS

T = TypeVar("T")
ABSENT: dict[Mode, str] = {
    "fastest": "absent ones count as not reached",
    "official": "absent ones are dropped, as the official script does",
}


@dataclass(frozen=True)
class Selection:
    """What of a tree is scored, and how; the fields are the arguments of `scores.score_tree`."""

    targets: str | Path | None
    mode: Mode
    self_tuning: bool | None
    num_studies: int | None
    num_trials: int | None
    submissions: Sequence[str] | None
    workloads: Sequence[str] | None
    framework: str | None
    allow_mixed: bool


@dataclass(frozen=True)
class Tree:
    """The trials of a tree and their evaluations (`read_evals`).

    submissions: all that have logs, sorted, even if none of the pool's workloads. num_studies:
    required of an entry. trials: of the pool's workloads, in the order of the tree. counted: by
    mode those that count in it: the rules know a number of studies and trials, the script takes
    what there is. mixed: what differs between the runs though it should not.
    """

    submissions: list[str]
    pool: Pool
    num_studies: int
    trials: list[Trial]
    counted: dict[Mode, list[TrialDir]]
    evals: pd.DataFrame
    mixed: list[str]

    def trials_in(self, mode: Mode) -> list[Trial]:
        counted = set(self.counted[mode])
        return [trial for trial in self.trials if trial.where in counted]


def read_tree(root: Path, chosen: Selection, findings: Findings, progress: bool) -> Tree:
    """Raises UserError (one line) if there is nothing to score, a name is unknown or runs do not
    compare; everything else that is wrong becomes a finding."""
    for name, number in (("studies", chosen.num_studies), ("trials", chosen.num_trials)):
        if number is not None and number < 1:
            raise UserError(f"num_{name}={number} must be at least 1")
    workloads = chosen.workloads and [canonical(name) for name in chosen.workloads]
    folders = select_trials(root, chosen.submissions, workloads, chosen.framework, findings)
    trials = [
        read_trial(folder, root, findings)
        for folder in _tracked(folders, "reading what the runs are", progress)
    ]
    trials = without_smoke(trials, root, findings)
    submissions = sorted({trial.where.submission for trial in trials})
    pool = _pool(chosen.targets, trials, findings).only(workloads)
    if not pool.targets:
        raise UserError(f"{root}: no target for any workload found there; give --workload_targets")
    trials = _with_target(trials, pool, findings)
    if not trials:
        raise UserError(
            f"{root}: no logs of {', '.join(pool.targets)}, the workloads of {chosen.targets}"
        )
    folders = [trial.where for trial in trials]
    required = chosen.num_studies or pool.num_studies or most_studies(folders)
    counted: dict[Mode, list[TrialDir]] = {}
    for mode in MODES:
        # What is told is told of the mode that is shown.
        told = findings if mode == chosen.mode else Findings()
        counted[mode] = _counted(trials, submissions, pool, chosen, mode, required, told)
    logged = set(counted["fastest"]) | set(counted["official"])
    trials = [trial for trial in trials if trial.where in logged]
    for text in comparable.other_rules(trials, pool):
        findings.note(text)
    pool = with_budgets(pool, trials, chosen.self_tuning)
    mixed = _refuse_mixed(root, trials, pool, chosen, findings)
    folders = _tracked([trial.where for trial in trials], "reading evaluations", progress)
    evals = read_evals(folders, pool.targets, root, findings)
    tell_of_runs(trials, findings)
    return Tree(submissions, pool, required, trials, counted, evals, mixed)


def _pool(targets: str | Path | None, trials: Sequence[Trial], findings: Findings) -> Pool:
    if targets is None:
        return pool_from_logs(trials, findings)
    if str(targets) in POOLS:
        return pool_of_version(str(targets))
    return pool_from_file(Path(targets), findings)


def _with_target(trials: Sequence[Trial], pool: Pool, findings: Findings) -> list[Trial]:
    """The trials of workloads that have a target; tells of workloads that lack one or the other."""
    logged = {trial.where.workload for trial in trials}
    for name in sorted(set(pool.targets) - logged):
        findings.leave_out(f"{name}: no logs; counts as not reached by anyone")
    for name in sorted(logged - set(pool.targets)):
        findings.leave_out(f"{name}: no target; workload not scored")
    return [trial for trial in trials if trial.where.workload in pool.targets]


def _counted(
    trials: Sequence[Trial],
    submissions: Sequence[str],
    pool: Pool,
    chosen: Selection,
    mode: Mode,
    required: int,
    findings: Findings,
) -> list[TrialDir]:
    """The trials that count in a mode; tells of those that do not, and of absent ones."""
    folders = [trial.where for trial in trials]
    num_studies, num_trials = chosen.num_studies, chosen.num_trials
    if mode == "fastest":
        num_studies = num_studies or pool.num_studies
        if num_trials is None and is_self_tuning(trials, chosen.self_tuning):
            folders = only_trial_1(folders, findings)
        else:
            num_trials = num_trials or pool.num_trials
    logged = {folder.workload for folder in folders}
    kept = first_studies(folders, num_studies, num_trials, findings)
    entries = [(name, workload) for name in submissions for workload in pool.targets]
    tell_of_absent(
        kept,
        [entry for entry in entries if entry[1] in logged],
        required,
        num_trials,
        ABSENT[mode],
        findings,
    )
    return kept


def _refuse_mixed(
    root: Path, trials: Sequence[Trial], pool: Pool, chosen: Selection, findings: Findings
) -> list[str]:
    mixed = comparable.differences(trials, pool, chosen.self_tuning)
    if mixed and not chosen.allow_mixed:
        raise UserError(
            f"{root}: runs that do not compare: {one_line('. '.join(mixed))}. Score them apart "
            "(--include_submissions, --exclude_submissions), or --allow_mixed"
        )
    for text in mixed:
        findings.note(f"{text}: times do not compare")
    return mixed


def _tracked(items: Sequence[T], what: str, progress: bool) -> Iterable[T]:
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    return track(items, what, console=console, transient=True, disable=not shown)
