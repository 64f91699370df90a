"""Trials as child processes: which are finished already, and running the rest side by side."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark import children, cores, trial_folder
from benchmark.plan import Options, plan
from benchmark.progress import Reporter
from benchmark.run import prepare_data
from benchmark.submission import REPOSITORY


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One trial, run as a child process; a `finished` one is kept, not run."""

    label: str
    options: Options
    folder: Path
    finished: bool


@dataclasses.dataclass(frozen=True)
class Place:
    """Where submissions are and what runs them; tests have places of their own."""

    root: Path = REPOSITORY
    run_script: tuple[str, ...] = (sys.executable, str(REPOSITORY / "scripts" / "run.py"))


def plan_runs(options: Options, label: str, place: Place) -> list[PlannedRun]:
    """One run for each trial that `options` ask for, checked.

    Raises:
        UserError: one line naming the value, the file and what is allowed, also where a finished
            run was made with other settings.
    """
    runs = []
    trials = plan(options, place.root).trials
    for trial in trials:
        # One process per trial, as every trial compiles on its own clock.
        index = trial.number - 1
        alone = dataclasses.replace(options, hparam_start_index=index, hparam_end_index=index + 1)
        told = f"{label} trial {trial.number}" if options.num_tuning_trials > 1 else label
        finished = not options.overwrite and trial_folder.finished_with(
            trial.folder, trial.settings
        )
        runs.append(PlannedRun(told, alone, trial.folder, finished))
    return runs


def execute(
    runs: Sequence[PlannedRun], jobs: int, reporter: Reporter, place: Place
) -> dict[str, str]:
    """Prepares the data, then runs what is not finished, `jobs` side by side (at most as many as
    this process has cores). Returns what went wrong, in one line, by the label of each failed run.

    Raises:
        UserError: the data cannot be had.
        KeyboardInterrupt: after every child has ended.
    """
    for kept in (planned for planned in runs if planned.finished):
        result = trial_folder.read_result(kept.folder)
        reporter.note(f"{kept.label}: finished before and kept: {result}")
    todo = [planned for planned in runs if not planned.finished]
    if not todo:
        return {}
    for workload in dict.fromkeys(run.options.workload for run in todo):
        prepare_data(workload, todo[0].options.data_dir, reporter)
    usable = cores.available()[:jobs]
    if len(usable) < min(jobs, len(todo)):
        reporter.note(f"--jobs={jobs}, but only {len(usable)} cores to run on: {len(usable)} jobs")
    argv = place.run_script
    tasks = [children.Job(run.label, (*argv, *run.options.arguments())) for run in todo]
    return children.run_all(tasks, usable, reporter)
