"""Lines of files of any length, compressed or not, in constant memory; damage is told."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError
from .unit import BadDocuments

MAX_LINE = 64 << 20  # bytes; a thousand times the longest documents of C4


def place(path: Path, number: int) -> str:
    """How a line is named, counted from 1."""
    return f"{path}, line {number}"


def read_lines(
    path: Path, bad: BadDocuments, max_line: int = MAX_LINE
) -> Iterator[tuple[int, bytes, int]]:
    """The lines of a file, decompressed if its name ends with '.gz'.

    Yields (number from 1, line with its end, bytes of the file read). Lines of more than `max_line`
    bytes are bad documents. An empty file, and what comes after damage in a compressed one, is the
    rest of a file. Raises DataError if the file cannot be opened or the system fails to read it.
    """
    number = length = 0
    try:
        with path.open("rb") as file:
            compressed = path.suffix == ".gz"
            lines: Any = gzip.GzipFile(fileobj=file) if compressed else file
            try:
                while line := lines.readline(max_line + 1):
                    number += 1
                    length += len(line)
                    if len(line) > max_line:
                        bad(place(path, number), f"longer than {max_line} bytes")
                        length += _skip_line(lines, line, max_line)
                    else:
                        yield number, line, file.tell() if compressed else length
                if not (file.tell() if compressed else length):
                    bad.rest_of_file(str(path), "the file is empty")
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                rest = f"{path}, the rest of the file from line {number + 1}"
                bad.rest_of_file(rest, f"damaged or truncated ({error})")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _skip_line(lines: Any, line: bytes, max_line: int) -> int:
    """Reads to the end of a line that begins with `line`; how many bytes more that was."""
    length = 0
    while line and not line.endswith(b"\n"):
        line = lines.readline(max_line)
        length += len(line)
    return length
