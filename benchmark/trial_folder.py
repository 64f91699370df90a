"""A trial's folder in AlgoPerf's log tree: finished, interrupted or in use, and its settings.

`result.json` is written last, so a folder without it belongs to a run that was interrupted or is
still going. A lock that dies with its process tells the two apart.
"""

import contextlib
import dataclasses
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from benchmark.errors import UserError
from benchmark.log import read_json, write_json, write_text
from benchmark.trial import Result

_LOCK = "run.lock"
_LOCK_PATIENCE_SEC = 10.0

# What a finished run must agree in with a new command to be kept, and where it is written.
_FLAGS = (
    "submission_path",
    "tuning_ruleset",
    "max_global_steps",
    "eval_every_steps",
    "target_setting",
    "smoke_batch_size",
)
_WORKLOAD = ("target_metric_name", "step_hint")
_TARGETS = (  # without a part in runs that set the targets
    "validation_target_value",
    "test_target_value",
    "max_allowed_runtime_sec",
    "eval_period_time_sec",
)


def workload_folder(
    experiment_dir: str | Path, experiment_name: str, workload: str, framework: str
) -> Path:
    """AlgoPerf's `<experiment_dir>/<experiment_name>/<workload>_<framework>`."""
    return Path(experiment_dir).expanduser() / experiment_name / f"{workload}_{framework}"


def read_result(folder: Path) -> Result | None:
    """The result of a finished run, None if there is none."""
    content = read_json(folder / "result.json")
    return None if content is None else Result(**content)


def write_result(folder: Path, result: Result) -> None:
    write_json(folder / "result.json", dataclasses.asdict(result))


def settings(
    flags: Mapping[str, Any],
    meta_data: Mapping[str, Any],
    hyperparameters: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What decides the outcome of a run besides code and machine, from AlgoPerf's three files.
    The `submission_path` in `flags` is the normalised one, `Submission.path`."""
    found = {name: flags.get(name) for name in _FLAGS}
    found["rng_seed"] = meta_data.get("rng_seed")
    names = _WORKLOAD if flags.get("target_setting") else _WORKLOAD + _TARGETS
    found |= {f"workload.{name}": meta_data.get(f"workload.{name}") for name in names}
    return found | {f"hyperparameters.{name}": v for name, v in (hyperparameters or {}).items()}


def finished_with(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether `folder` holds a finished run, without an error, made with the settings `wanted`.
    A wanted `rng_seed` of None agrees with every seed.

    Raises:
        UserError: it is finished, but was made with other settings.
    """
    result = read_result(folder)
    if result is None or result.reason == "error":
        return False
    names = ("flags_0.json", "meta_data_0.json", "hparams.json")
    flags, meta_data, hyperparameters = (read_json(folder / name) for name in names)
    had = settings(flags or {}, meta_data or {}, hyperparameters)
    if wanted["rng_seed"] is None:
        had["rng_seed"] = None
    for name in sorted({*had, *wanted}):
        if had.get(name) != wanted.get(name):
            raise UserError(
                f"{folder} holds a finished run with {name}={had.get(name)}, not "
                f"{wanted.get(name)}; give --overwrite to replace it, or another --experiment_name"
            )
    return True


def set_aside(folder: Path) -> Path:
    """Renames an unfinished trial's folder so that no scorer reads it; its log is kept, marked.

    The new name `interrupted_trial_j_<n>` does not match AlgoPerf's pattern for trials. Returns it.
    """
    result = read_result(folder)
    cause = "was interrupted" if result is None else f"ended with an error: {result.message}"
    number = 1
    while (aside := folder.with_name(f"interrupted_{folder.name}_{number}")).exists():
        number += 1
    when = datetime.now(UTC).isoformat(timespec="seconds")
    write_text(
        folder / "INTERRUPTED",
        f"This run {cause}.\nSet aside at {when}; replaced by a new run in {folder.name}.\n",
    )
    os.rename(folder, aside)
    return aside


@contextlib.contextmanager
def in_use(
    folder: Path, overwrite: bool, wanted: Mapping[str, Any]
) -> Iterator[Path | Result | None]:
    """Makes an empty `folder` and keeps it locked while the body runs.

    What lies there already is removed with `overwrite`. Without it, a run that another process has
    finished with the settings `wanted` is kept: yields its result, and the body must leave the
    folder alone. Anything else is set aside: yields its new place. Yields None if there was nothing
    to keep or to set aside.

    Raises:
        UserError: another process is using the folder, and goes on for ten seconds, or has finished
            a run there with other settings.
    """
    aside = None
    while True:
        with _lock(folder):
            if all(path.name == _LOCK for path in folder.iterdir()):
                yield aside
                return
            if overwrite:
                # First, so that a folder half removed is no finished run.
                (folder / "result.json").unlink(missing_ok=True)
                shutil.rmtree(folder)
            elif finished_with(folder, wanted):
                yield read_result(folder)
                return
            else:
                aside = set_aside(folder)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Makes `folder` if need be and holds its lock, which ends with the process."""
    with _acquire(folder) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if _is_at(file, folder / _LOCK):
                (folder / _LOCK).unlink()


def _acquire(folder: Path) -> TextIO:
    path = folder / _LOCK
    deadline = time.monotonic() + _LOCK_PATIENCE_SEC
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, "a+")  # noqa: SIM115  the caller closes it
        except FileNotFoundError:
            continue  # the folder has just been moved
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read()
            file.close()
            if time.monotonic() > deadline:
                raise UserError(f"{folder} is in use by another run (process {holder})") from None
            time.sleep(0.1)
            continue
        if _is_at(file, path):
            return file
        # Whoever held the lock has moved the folder or removed the file in the meantime.
        file.close()


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
