"""Trials as child processes: which are finished already, and running the rest.

On a CPU they run side by side, each on a core of its own; with GPUs one after the other, each on
all of them. This process then leaves the GPUs alone: it plans, and JAX would take their memory.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark import children, cores, torchrun, trial_folder
from benchmark.hardware import gpus_for
from benchmark.plan import Options, plan
from benchmark.progress import Reporter
from benchmark.run import prepare_data
from benchmark.submission import REPOSITORY
from workloads_overrides import SMALL_WORKLOADS


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One trial, run as a child process; a `finished` one is kept, not run."""

    label: str
    options: Options
    folder: Path
    finished: bool


def count_gpus(workload: str, framework: str) -> int:
    """How many GPUs a run computes on. The small workloads are for one core, wherever they run:
    their targets were measured on one."""
    return 0 if workload in SMALL_WORKLOADS else len(gpus_for(framework))


@dataclasses.dataclass(frozen=True)
class Place:
    """Where submissions are, what runs them, and on how many GPUs (0: on a core of the CPU) by
    workload and framework; tests have places of their own."""

    root: Path = REPOSITORY
    run_script: tuple[str, ...] = (sys.executable, str(REPOSITORY / "scripts" / "run.py"))
    count_gpus: Callable[[str, str], int] = count_gpus

    def plan_only(self, workload: str, framework: str) -> None:
        """To be called before the workload is imported here: keeps JAX in this process to the CPU,
        where runs have GPUs. PyTorch takes none before it is told to."""
        if framework == "jax" and self.count_gpus(workload, framework):
            import jax

            jax.config.update("jax_platforms", "cpu")

    def num_gpus(self, options: Options) -> int:
        return self.count_gpus(options.workload, options.framework)

    def command(self, options: Options) -> tuple[str, ...]:
        """That runs a trial: of JAX one process for all GPUs, of PyTorch one for each."""
        python, *rest = self.run_script
        if options.framework == "pytorch" and (processes := self.num_gpus(options)) > 1:
            rest = [*torchrun.arguments(processes), *rest]
        return (python, *rest, *options.arguments())


def plan_runs(options: Options, label: str, place: Place) -> list[PlannedRun]:
    """One run for each trial that `options` ask for, checked.

    Raises:
        UserError: one line naming the value, the file and what is allowed, also where a finished
            run was made with other settings.
    """
    place.plan_only(options.workload, options.framework)
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
    this process has cores; one where there are GPUs). Returns what went wrong, in one line, by the
    label of each failed run.

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
    for workload, options in {run.options.workload: run.options for run in todo}.items():
        prepare_data(workload, options.data_dir, reporter, options.data_rows)
    return {
        **_execute_on_gpus([run for run in todo if place.num_gpus(run.options)], reporter, place),
        **_execute_on_cores(
            [run for run in todo if not place.num_gpus(run.options)], jobs, reporter, place
        ),
    }


def _execute_on_gpus(
    todo: Sequence[PlannedRun], reporter: Reporter, place: Place
) -> dict[str, str]:
    if not todo:
        return {}
    reporter.note(f"one run at a time, on {place.num_gpus(todo[0].options)} GPUs")
    return children.run_all(_jobs(todo, place), [None], reporter)


def _execute_on_cores(
    todo: Sequence[PlannedRun], jobs: int, reporter: Reporter, place: Place
) -> dict[str, str]:
    if not todo:
        return {}
    usable = cores.available()[:jobs]
    if len(usable) < min(jobs, len(todo)):
        reporter.note(f"--jobs={jobs}, but only {len(usable)} cores to run on: {len(usable)} jobs")
    return children.run_all(_jobs(todo, place), usable, reporter)


def _jobs(todo: Sequence[PlannedRun], place: Place) -> list[children.Job]:
    return [children.Job(run.label, place.command(run.options)) for run in todo]
