"""The command that runs AlgoPerf's `submission_runner` for what a user asks of scripts/run.py."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import torchrun
from benchmark.errors import UserError
from benchmark.hardware import Gpu
from benchmark.official import arguments
from benchmark.official.submission_path import locate
from benchmark.submission import REPOSITORY

_LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The flags of scripts/run.py that the official harness has too, and ours about it.

    `gpus` are the visible ones, `num_gpus` of which are used (None: all); `harness_args` are handed
    on as they are. With `dry_run` nothing about this machine is refused.
    """

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
    rules: str | None = None
    num_gpus: int | None = None
    gpus: Sequence[Gpu] = ()
    harness_args: Sequence[str] = ()
    dry_run: bool = False

    @property
    def used_gpus(self) -> int:
        return len(self.gpus) if self.num_gpus is None else self.num_gpus

    @property
    def experiment_folder(self) -> Path:
        return _absolute(self.experiment_dir) / self.experiment_name

    @property
    def workload_folder(self) -> Path:
        """Where the harness writes the trials."""
        return self.experiment_folder / f"{self.workload}_{self.framework}"


@dataclass(frozen=True)
class Command:
    """A program with its arguments, the environment variables that it needs besides those that are
    set, and what the user should know about it."""

    argv: list[str]
    environment: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """As one would type it in a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.argv)])


def build(request: Request, repository: Path = REPOSITORY) -> Command:
    """Lays out the command; paths are made absolute, but for the submission's.

    Raises:
        UserError: what the harness would refuse, ask about on standard input, or misread.
    """
    _check(request)
    submission = locate(request.submission_path, repository)
    program = [str(_LAUNCHER)]
    if request.framework == "pytorch" and request.used_gpus > 1:
        program = [*torchrun.arguments(request.used_gpus), *program]
    space = request.tuning_search_space
    flags: dict[str, object] = {
        "workload": request.workload,
        "framework": request.framework,
        "submission_path": submission.path,
        "submission_root": None if submission.root == repository else submission.root,
        "rules": request.rules,
        "tuning_ruleset": request.tuning_ruleset,
        "tuning_search_space": None if space is None else _absolute(space),
        "data_dir": _absolute(request.data_dir),
        "experiment_dir": _absolute(request.experiment_dir),
        "experiment_name": request.experiment_name,
        "num_tuning_trials": request.num_tuning_trials,
        "hparam_start_index": request.hparam_start_index,
        "hparam_end_index": request.hparam_end_index,
        "rng_seed": request.rng_seed,
        "max_global_steps": request.max_global_steps,
    }
    given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    if request.overwrite:
        given.append("--overwrite")
    defaults = _defaults(request)
    return Command(
        [sys.executable, *program, *given, *defaults, *request.harness_args],
        _environment(request),
        _notes(request, defaults),
    )


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _defaults(request: Request) -> list[str]:
    """Flags of the harness that have another default here."""
    compiles = arguments.switch(request.harness_args, "torch_compile")
    on_cpu = request.framework == "pytorch" and request.used_gpus == 0
    return ["--notorch_compile"] if on_cpu and compiles is None else []


def _environment(request: Request) -> dict[str, str]:
    """The harness takes every GPU that it sees, however many processes there are."""
    used = request.used_gpus
    if used >= len(request.gpus):
        return {}
    visible = ",".join(gpu.uuid for gpu in request.gpus[:used])
    variables = {"CUDA_VISIBLE_DEVICES": visible}
    if request.framework == "jax" and used == 0:
        variables["JAX_PLATFORMS"] = "cpu"
    return variables


def _notes(request: Request, defaults: Sequence[str]) -> list[str]:
    notes = []
    if "--notorch_compile" in defaults:
        notes.append(
            "--notorch_compile, because on a CPU compiling takes minutes; --torch_compile to "
            "compile all the same"
        )
    if request.rng_seed == 0:
        notes.append("--rng_seed=0: the harness takes 0 for no seed and draws one")
    if request.framework == "jax" and arguments.switch(request.harness_args, "resume_last_run"):
        notes.append("--resume_last_run: resuming fails in JAX at the harness's pinned versions")
    return notes


def _check(request: Request) -> None:
    _check_numbers(request)
    _check_tuning(request)
    folder = request.workload_folder
    resumes = arguments.switch(request.harness_args, "resume_last_run")
    stamped = arguments.switch(request.harness_args, "append_timestamp")
    if folder.exists() and not (request.overwrite or resumes or stamped or request.dry_run):
        resume = ", --resume_last_run to go on with it"
        if request.framework == "jax":
            resume += " (which fails in JAX at the harness's own pinned versions)"
        raise UserError(
            f"{folder} exists; give --overwrite to remove it{resume}, or another --experiment_name"
        )


def _check_numbers(request: Request) -> None:
    for name in ("num_tuning_trials", "max_global_steps"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}={value}; allowed: >= 1")
    if request.rng_seed is not None and not 0 <= request.rng_seed < 2**32:
        raise UserError(f"--rng_seed={request.rng_seed}; allowed: 0 to 2**32 - 1")
    used, visible = request.used_gpus, len(request.gpus)
    if used < 0 or (used > visible and not request.dry_run):
        raise UserError(f"--num_gpus={used}; allowed: 0 to {visible}, the GPUs visible here")


def _check_tuning(request: Request) -> None:
    space = request.tuning_search_space
    if request.tuning_ruleset == "self":
        if space is not None:
            raise UserError(
                f"--tuning_search_space={space}: not allowed with --tuning_ruleset=self, where "
                "submissions have no hyperparameters"
            )
    elif space is None:
        raise UserError(
            "--tuning_ruleset=external needs --tuning_search_space, a JSON file of hyperparameters"
        )
    elif not Path(space).expanduser().is_file():
        raise UserError(f"--tuning_search_space={space}: no such file")
