"""Whether a prepared folder's files are what meta.json says, byte for byte.

For runs, files that were found undamaged are remembered beside the folder, as the largest workload
has 16 GB of them. Where nothing can be written, every run reads.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..base.files import file_sha256, write_atomically
from .meta import read_digests


def damaged_files(
    folder: Path, look: Callable[[str, float], None], remembered: bool = False
) -> list[str]:
    """One line for each file of a prepared folder that is not as meta.json says.

    `look` gets a file's name and the fraction done before it. With `remembered`, a file is not read
    that an earlier call found undamaged, if its size, its modification time and its digest in
    meta.json are still the same. Raises DataError if meta.json itself is missing or damaged.
    """
    problems: list[str] = []
    undamaged: dict[str, Any] = {}
    digests = read_digests(folder)
    before = _read(folder)
    for number, (name, digest) in enumerate(digests.items()):
        path = folder / name
        try:
            status = path.stat()
            state = [status.st_size, status.st_mtime_ns, digest]
            if not remembered or before.get(name) != state:
                look(name, number / len(digests))
                found = file_sha256(path)
                if found != digest:
                    problems.append(f"{path} is damaged (sha256 {found}, expected {digest})")
                    continue
            undamaged[name] = state
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
    if undamaged != before:
        _write(folder, undamaged)
    return problems


def _stamp(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.checked.json")


def _read(folder: Path) -> dict[str, Any]:
    """{file: [size, modification time, digest]} of those that were undamaged."""
    try:
        content = json.loads(_stamp(folder).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(folder: Path, undamaged: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # no right to, no room, or another run wrote the same
        write_atomically(_stamp(folder), (json.dumps(undamaged, indent=1) + "\n").encode())
