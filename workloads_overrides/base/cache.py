"""A folder that exists either whole or not at all, whoever prepares it and however that ends."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError


def prepare_folder(
    folder: Path, build: Callable[[Path], None], check: Callable[[Path], None]
) -> None:
    """Makes `folder` by `build(temporary folder)` and one rename, or leaves a present one alone.

    Args:
        folder: where the result belongs; its parent is made if missing.
        build: fills the empty folder that it is given. An error in it leaves nothing behind.
        check: raises DataError if the folder that it is given cannot be used as it is.

    Processes that prepare one folder at the same time take turns by a lock beside it, which the
    system releases when its holder dies; what a killed holder left is removed by the next one.
    Raises DataError where the file system refuses (full disk, no permission).
    """
    if folder.exists():
        check(folder)
        return
    temporary = folder.parent / f".{folder.name}.tmp"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / f".{folder.name}.lock"):
            if folder.exists():
                check(folder)
                return
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            try:
                build(temporary)
                os.replace(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"cannot prepare {folder}: {error.strerror or error}: {where}") from error


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds the lock file `path`, made if missing, until the body ends or the process dies.

    Where another process holds it, waits, or raises BlockingIOError if told not to.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
