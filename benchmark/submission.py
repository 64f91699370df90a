"""AlgoPerf submissions, found by path: the module, its functions, checks before any training."""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.errors import UserError, one_line, summary

REPOSITORY = Path(__file__).resolve().parent.parent

# AlgoPerf's names; a batch size is looked up by workload, then by the base name that the workload's
# name contains (`ogbg_small` -> `ogbg`).
_BASE_WORKLOADS = (
    "cifar",
    "criteo1tb",
    "fastmri",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "mnist",
    "ogbg",
    "wmt",
)


@dataclass(frozen=True)
class Submission:
    """AlgoPerf's functions of one submission; `path`, relative to the repository and without `..`,
    is what errors name and what tells it from others."""

    path: str
    get_batch_size: Callable[[str], int]
    init_optimizer_state: Callable[..., Any]
    update_params: Callable[..., Any]
    data_selection: Callable[..., Any]
    prepare_for_eval: Callable[..., Any] | None
    check_hyperparameters: Callable[[Mapping[str, Any]], None] | None

    def global_batch_size(self, workload: str) -> int:
        """The submission's batch size, asked for as AlgoPerf's harness asks."""
        names = [workload, *(base for base in _BASE_WORKLOADS if base in workload)]
        for name in names:
            try:
                return self.get_batch_size(name)
            except ValueError as error:
                told = one_line(error)
        raise UserError(f"{self.path}: no batch size for workload {workload!r}: {told}")

    def check_point(self, point: Mapping[str, Any], place: str) -> None:
        """Asks the submission, if it can tell, whether it takes these hyperparameters, names and
        values; `place` says where they stand."""
        if self.check_hyperparameters is None:
            return
        try:
            self.check_hyperparameters(point)
        except ValueError as error:
            raise UserError(f"{place}: {one_line(error)}") from None


def path_of(name: str, framework: str) -> str:
    """Where the submission `name` lies, relative to the repository."""
    return f"submissions/{name}/{framework}/submission.py"


def search_space_of(name: str, root: Path) -> Path:
    """The tuning search space of the submission `name`."""
    return root / "tuning_search_spaces" / f"{name}.json"


def available(framework: str, root: Path) -> list[str]:
    """Names of the submissions that exist for `framework`."""
    return sorted(path.parent.parent.name for path in root.glob(path_of("*", framework)))


def load(path: str, framework: str, root: Path) -> Submission:
    """Imports a submission, given by its path, as AlgoPerf does: by dotted name. The path is one
    relative to `root`, or an absolute one below it.

    Raises:
        UserError: no such file, not importable by name, an error while importing, or a function
            of AlgoPerf's missing.
    """
    module = _import(path := _relative(path, root), framework, root)
    required = ("get_batch_size", "init_optimizer_state", "update_params", "data_selection")
    missing = [name for name in required if not callable(getattr(module, name, None))]
    if missing:
        raise UserError(f"{path}: no function {', '.join(missing)}")
    functions = {name: getattr(module, name) for name in required}
    optional = ("prepare_for_eval", "check_hyperparameters")
    functions.update({name: getattr(module, name, None) for name in optional})
    return Submission(path=path, **functions)


def _relative(path: str, root: Path) -> str:
    """`path` relative to `root`, so that one file has one path; an absolute one elsewhere stays."""
    normal = Path(os.path.normpath(path))
    return (normal.relative_to(root) if normal.is_relative_to(root) else normal).as_posix()


def _import(path: str, framework: str, root: Path) -> ModuleType:
    relative = Path(path)
    if relative.is_absolute() or not (root / relative).is_file():
        names = ", ".join(path_of(name, framework) for name in available(framework, root))
        raise UserError(f"unknown submission --submission_path={path}; allowed: {names or 'none'}")
    name = re.sub(r"\.py$", "", relative.as_posix())
    if relative.suffix != ".py" or not all(part.isidentifier() for part in name.split("/")):
        raise UserError(
            f"--submission_path={path}: not importable by its path; allowed: a .py file below the "
            "repository, with Python names for folders"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name.replace("/", "."))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = [frame for frame in frames if not frame.filename.startswith("<frozen")][-1]
        raise UserError(f"{path}: {summary(error)} ({where.filename}:{where.lineno})") from error
