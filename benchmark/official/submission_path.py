"""Where a submission's file is imported from: AlgoPerf takes a dotted name, users give a path."""

from pathlib import Path
from typing import NamedTuple

from benchmark.errors import UserError
from benchmark.submission import REPOSITORY


class Located(NamedTuple):
    """A submission: the folder to put on Python's path, and the file relative to that folder."""

    root: Path
    path: str


def locate(given: str, repository: Path = REPOSITORY, cwd: Path | None = None) -> Located:
    """Finds the file `given` below the current folder, below the repository, or absolutely.

    A file in the repository is imported from the repository's root, and a relative path elsewhere
    from the current folder, as the harness's own users are used to. An absolute path elsewhere, or
    one through `..` or below a folder named as a package of the repository, is imported from the
    first folder above it that is no Python package, so that an entry's relative imports work.

    Raises:
        UserError: no such file, or one that has no dotted name.
    """
    cwd = Path.cwd() if cwd is None else cwd
    relative = Path(given).expanduser()
    file = next(
        (base / relative for base in (cwd, repository) if (base / relative).is_file()), None
    )
    if file is None:
        raise UserError(
            f"--submission_path={given}: no such file; allowed: a submission.py below the "
            "repository or the current folder, or an absolute path"
        )
    file = file.resolve()
    if file.is_relative_to(repository):
        root = repository
    elif (
        not relative.is_absolute()
        and ".." not in relative.parts
        and not _is_shadowed(relative, repository)
    ):
        root = cwd.resolve()
    else:
        root = _above_packages(file)
    path = file.relative_to(root)
    if path.suffix != ".py" or not all(part.isidentifier() for part in path.with_suffix("").parts):
        raise UserError(
            f"--submission_path={given}: {path.as_posix()} has no name to import it by; allowed: a "
            ".py file, with Python names for folders"
        )
    return Located(root, path.as_posix())


def _is_shadowed(relative: Path, repository: Path) -> bool:
    """Whether its dotted name would begin with a package of the repository, which would win."""
    return (repository / relative.parts[0] / "__init__.py").is_file()


def _above_packages(file: Path) -> Path:
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
