"""A comparison: submissions x studies x workloads x trials."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmark import submission
from benchmark.errors import UserError
from benchmark.plan import Options
from benchmark.runs import Place, PlannedRun, plan_runs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """The flags of scripts/compare.py. Study i uses the seed `rng_seed` + i, the same for every
    submission."""

    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    framework: str
    experiment_dir: str
    experiment_name: str
    data_dir: str = "data"
    tuning_ruleset: str = "external"
    num_studies: int = 1
    num_tuning_trials: int = 1
    rng_seed: int = 0
    max_global_steps: int | None = None
    eval_every_steps: int | None = None
    overwrite: bool = False
    jobs: int = 2

    @property
    def path(self) -> Path:
        """The experiment's folder."""
        return Path(self.experiment_dir).expanduser() / self.experiment_name


def plan_comparison(comparison: Comparison, place: Place) -> list[PlannedRun]:
    """Every run of `comparison`, checked: submissions, search spaces, hyperparameter names, and the
    settings of runs that are finished already.

    Raises:
        UserError: one line naming the value, the file and what is allowed.
    """
    for name in ("num_studies", "jobs"):
        if getattr(comparison, name) < 1:
            raise UserError(f"--{name}={getattr(comparison, name)}; allowed: >= 1")
    return [
        run
        for study in range(comparison.num_studies)
        for workload in comparison.workloads
        for name in submission_names(comparison, place.root)
        for run in plan_runs(
            _options(comparison, place.root, name, study, workload),
            _label(comparison, name, study, workload),
            place,
        )
    ]


def submission_names(comparison: Comparison, root: Path) -> list[str]:
    """The names asked for, each once and in order; `all` stands for every submission there is."""
    known = submission.available(comparison.framework, root)
    for name in comparison.submissions:
        if name not in [*known, "all"]:
            raise UserError(
                f"unknown submission {name!r} for --framework={comparison.framework}; allowed: "
                f"{', '.join([*known, 'all'])}"
            )
    return known if "all" in comparison.submissions else list(dict.fromkeys(comparison.submissions))


def without_logs(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs that have left no folder: their processes died before any training."""
    return [run for run in planned if not run.folder.is_dir()]


def scored_names(planned: Sequence[PlannedRun]) -> tuple[list[str], list[str]]:
    """Submissions and workloads, each once and in order, of which a run has a folder of logs."""
    logged = [run for run in planned if run.folder.is_dir()]
    submissions = dict.fromkeys(Path(run.options.experiment_dir).name for run in logged)
    workloads = dict.fromkeys(run.options.workload for run in logged)
    return list(submissions), list(workloads)


def _options(comparison: Comparison, root: Path, name: str, study: int, workload: str) -> Options:
    external = comparison.tuning_ruleset == "external"
    return Options(
        workload=workload,
        framework=comparison.framework,
        submission_path=submission.path_of(name, comparison.framework),
        experiment_dir=str(comparison.path / name),
        experiment_name=f"study_{study}",
        data_dir=comparison.data_dir,
        tuning_ruleset=comparison.tuning_ruleset,
        tuning_search_space=str(submission.search_space_of(name, root)) if external else None,
        num_tuning_trials=comparison.num_tuning_trials,
        rng_seed=comparison.rng_seed + study,
        max_global_steps=comparison.max_global_steps,
        overwrite=comparison.overwrite,
        eval_every_steps=comparison.eval_every_steps,
    )


def _label(comparison: Comparison, name: str, study: int, workload: str) -> str:
    """What is shown of a run: no more than tells it from the others."""
    parts = [name]
    parts += [f"study {study}"] * (comparison.num_studies > 1)
    parts += [workload] * (len(comparison.workloads) > 1)
    return " ".join(parts)
