"""A copy of the sources under test, named by what is in it.

Tests run from the copy: the matrix takes hours, and an edit meanwhile would otherwise mix two
states of the code in one table. The name comes from the files' contents rather than from git's
trees, so that committing what was tested keeps the results valid.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError


@dataclass(frozen=True)
class Sources:
    """Files below `root`, by their paths relative to it, and a digest of names and contents."""

    root: Path
    files: tuple[str, ...]
    digest: str

    def snapshot(self, folder: Path) -> Path:
        """`folder/<digest>` with a copy of the files, made if it is not there yet."""
        target = folder / self.digest
        if target.is_dir():
            return target
        folder.mkdir(parents=True, exist_ok=True)
        # Under another name until it is whole: an interrupted copy must not look like one.
        part = Path(tempfile.mkdtemp(dir=folder, prefix="part-"))
        for name in self.files:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.root / name, part / name)
        if of(part, self.files).digest != self.digest:
            shutil.rmtree(part)
            raise UserError(f"{self.root}: its files changed while they were copied; start again")
        try:
            os.replace(part, target)
        except OSError:  # another process was faster
            shutil.rmtree(part)
        return target


def of(root: Path, parts: Iterable[str]) -> Sources:
    """The files of `parts` (files or folders below `root`): in a git checkout those that git knows
    or would add, elsewhere all but Python's caches."""
    files = tuple(sorted(_git_files(root, parts) or _all_files(root, parts)))
    digest = hashlib.sha256()
    for name in files:
        content = (root / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Sources(root, files, digest.hexdigest()[:16])


def commit(root: Path) -> str:
    """The commit checked out at `root`, with `+` after it where files differ; "" outside git."""
    done = _git(root, "rev-parse", "HEAD")
    if done is None:
        return ""
    return done.strip() + ("+" if _git(root, "status", "--porcelain") else "")


def _git_files(root: Path, parts: Iterable[str]) -> set[str]:
    listed = _git(root, "ls-files", "-z", "-co", "--exclude-standard", "--", *parts)
    return {name for name in (listed or "").split("\0") if name and (root / name).is_file()}


def _all_files(root: Path, parts: Iterable[str]) -> set[str]:
    found = set()
    for part in parts:
        path = root / part
        found |= {path} if path.is_file() else {p for p in path.rglob("*") if p.is_file()}
    return {str(p.relative_to(root)) for p in found if "__pycache__" not in p.parts}


def _git(root: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
