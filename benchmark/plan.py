"""What a command asks for, checked before any training: options, workload, submission, trials."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import workloads_overrides
from algoperf_api.spec import Workload
from benchmark import backend, metadata, ranks, search_space, smoke, submission, trial_folder
from benchmark.errors import UserError, one_line
from benchmark.trial import Rules

TUNING_RULESETS = ("external", "self")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of scripts/run.py; names are AlgoPerf's wherever AlgoPerf has one."""

    workload: str
    framework: str
    submission_path: str
    experiment_dir: str
    experiment_name: str
    data_dir: str = "data"
    tuning_ruleset: str = "external"
    tuning_search_space: str | None = None
    num_tuning_trials: int = 1
    hparam_start_index: int | None = None
    hparam_end_index: int | None = None
    rng_seed: int | None = None
    max_global_steps: int | None = None
    overwrite: bool = False
    eval_every_steps: int | None = None
    target_setting: bool = False
    step_hint: int | None = None
    cpu_core: int | None = None
    smoke_batch_size: int | None = None

    def rules(self) -> Rules:
        names = (field.name for field in dataclasses.fields(Rules))
        return Rules(**{name: getattr(self, name) for name in names})

    @property
    def data_rows(self) -> dict[str, int] | None:
        """Rows of the prepared splits that a trial reads; None: what its workload has."""
        if self.smoke_batch_size is None or self.max_global_steps is None:
            return None
        return smoke.rows(self.smoke_batch_size, self.max_global_steps)

    def arguments(self) -> list[str]:
        """These options as arguments of scripts/run.py."""
        values = dataclasses.asdict(self).items()
        return [f"--{name}={value}" for name, value in values if value is not None]


@dataclasses.dataclass(frozen=True)
class PlannedTrial:
    """A trial that a command asks for: its number from 1, its folder, its hyperparameters (None:
    self-tuning) and the settings that a finished run there must have been made with."""

    number: int
    folder: Path
    point: search_space.Point | None
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that a run needs, checked before any training."""

    workload: Any  # one of this project's, which have more than AlgoPerf's `Workload`
    submission: submission.Submission
    trials: list[PlannedTrial]


def plan(options: Options, root: Path) -> Plan:
    """Checks `options` and lays out the trials.

    Raises:
        UserError: one line naming the value, the file and what is allowed.
    """
    _check_numbers(options)
    workload = _workload(options)
    module = submission.load(options.submission_path, options.framework, root)
    if options.smoke_batch_size is not None:
        module = smoke.with_batch_size(module, options.smoke_batch_size)
    _check_batch_sizes(options, workload, module)
    folder = trial_folder.workload_folder(
        options.experiment_dir, options.experiment_name, options.workload, options.framework
    )
    flags = dataclasses.asdict(options) | {"submission_path": module.path}
    properties = metadata.workload_properties(workload) | {"rng_seed": options.rng_seed}
    trials = [
        PlannedTrial(
            number,
            folder / f"trial_{number}",
            point,
            trial_folder.settings(flags, properties, point),
        )
        for number, point in _points(options, module)
    ]
    return Plan(workload, module, trials)


def _check_numbers(options: Options) -> None:
    for name in (
        "num_tuning_trials",
        "max_global_steps",
        "eval_every_steps",
        "step_hint",
        "smoke_batch_size",
    ):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}={value}; allowed: >= 1")
    for name in ("hparam_start_index", "hparam_end_index"):
        value = getattr(options, name)
        if value is not None and not 0 <= value <= options.num_tuning_trials:
            raise UserError(
                f"--{name}={value}; allowed: 0 to --num_tuning_trials={options.num_tuning_trials}"
            )
    if options.rng_seed is not None and not 0 <= options.rng_seed < 2**32:
        raise UserError(f"--rng_seed={options.rng_seed}; allowed: 0 to 2**32 - 1")
    for name, allowed in (
        ("framework", workloads_overrides.FRAMEWORKS),
        ("tuning_ruleset", TUNING_RULESETS),
    ):
        if getattr(options, name) not in allowed:
            raise UserError(
                f"unknown --{name}={getattr(options, name)}; allowed: {', '.join(allowed)}"
            )
    if options.target_setting and options.max_global_steps is None:
        raise UserError("--target_setting never stops by itself: give --max_global_steps")
    if options.smoke_batch_size is not None and options.max_global_steps is None:
        raise UserError(
            f"--smoke_batch_size={options.smoke_batch_size} needs --max_global_steps, the number "
            "of batches"
        )
    if options.cpu_core is not None and ranks.count() > 1:
        raise UserError(
            f"--cpu_core={options.cpu_core} keeps one process to a core, and torchrun has started "
            f"{ranks.count()}"
        )
    if options.step_hint is not None and not options.target_setting:
        raise UserError(f"--step_hint={options.step_hint} is for --target_setting only")


def _check_batch_sizes(options: Options, workload: Workload, module: submission.Submission) -> None:
    devices = backend.load(options.framework).num_devices
    for place, kind, size in (
        (module.path, "", module.global_batch_size(options.workload)),
        (options.workload, "eval ", workload.eval_batch_size),
    ):
        if size < devices or size % devices:
            raise UserError(
                f"{place}: the global {kind}batch size ({size}) has to be divisible by the number "
                f"of devices ({devices})"
            )


def import_workload(name: str, framework: str) -> Workload:
    """The workload `name`; a UserError that names the allowed ones if it is unknown."""
    try:
        return workloads_overrides.import_workload(name, framework)
    except ValueError as error:
        raise UserError(one_line(error)) from None


def _workload(options: Options) -> Workload:
    workload: Any = import_workload(options.workload, options.framework)
    if options.step_hint is not None:
        _set_step_hint(workload, options.step_hint)
    if options.target_setting:
        workload.accept_any_data()
    if options.smoke_batch_size is not None:
        assert options.max_global_steps is not None
        smoke.shrink(workload, options.workload, options.smoke_batch_size, options.max_global_steps)
    return workload


def _set_step_hint(workload: Workload, steps: int) -> None:
    """Gives this one object another schedule horizon, for target setting. `step_hint` is a
    property of AlgoPerf's class, so the object moves into a subclass of its own."""
    kind = type(workload)
    workload.__class__ = type(kind.__name__, (kind,), {"step_hint": property(lambda _: steps)})


def _points(
    options: Options, module: submission.Submission
) -> Sequence[tuple[int, search_space.Point | None]]:
    """The trials asked for, numbered from 1, and their hyperparameters."""
    file = options.tuning_search_space
    if options.tuning_ruleset == "self":
        if file is not None:
            raise UserError(
                f"--tuning_search_space={file}: not allowed with --tuning_ruleset=self, where "
                "submissions have no hyperparameters"
            )
        if options.num_tuning_trials != 1:
            raise UserError(
                f"--num_tuning_trials={options.num_tuning_trials}; allowed with "
                "--tuning_ruleset=self: 1"
            )
        return [(1, None)]
    if file is None:
        raise UserError(
            "--tuning_ruleset=external needs --tuning_search_space, a JSON file of hyperparameters"
        )
    points = search_space.load(file, options.num_tuning_trials, options.rng_seed or 0)
    indices = slice(options.hparam_start_index, options.hparam_end_index)
    chosen = list(enumerate(points, start=1))[indices]
    for number, point in chosen:
        module.check_point(point, f"{file}, point {number}")
    return chosen
