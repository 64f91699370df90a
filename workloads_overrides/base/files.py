"""Digests of files, and writing that says what failed and leaves nothing half-written."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that has either all of `content` or what it had before, whatever interrupts.

    OSError names the file.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with naming(temporary), temporary.open("wb") as file:
        file.write(content)
        sync(file)
    os.replace(temporary, path)


def sync(file: IO[bytes]) -> None:
    """Waits until the disk has what was written to `file`."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Waits until the disk has the names of a folder's files."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an OSError of the body the name of `path`: writing to an open file has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
