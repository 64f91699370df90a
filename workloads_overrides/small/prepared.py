"""Prepared data: a folder with `meta.json`, which says what the other files are, and checks it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..base.cache import prepare_folder
from ..base.files import file_sha256
from ..errors import DataError

META = "meta.json"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Prepared:
    """One prepared data set, by its folder's name and what must be true of it.

    Attributes:
      workload: that `scripts/prepare_data.py` is to be told.
      folder: its name below the data folder.
      facts: entries that meta.json must have, such as the format's version, the sources' sha256 and
        how many examples there are.
      files: names of the other files, whose sha256 meta.json has.
    """

    workload: str
    folder: str
    facts: Mapping[str, Any]
    files: tuple[str, ...]

    def prepare(
        self,
        data_dir: str | Path,
        build: Callable[[Path, Progress], Mapping[str, Any]],
        progress: Progress | None = None,
    ) -> None:
        """Builds the folder once; does nothing where it is whole already.

        Args:
          data_dir: where the folder belongs.
          build: fills the empty folder that it is given with `files` and returns what else is
            to stand in meta.json, for people to read.
          progress: called with what is being done and the fraction done so far.

        Raises DataError, one line, if the data cannot be had or a present folder cannot be used.
        """
        build_all = partial(self._build, build=build, progress=progress or _ignore)
        prepare_folder(Path(data_dir) / self.folder, build_all, self.check)

    def _build(
        self,
        folder: Path,
        build: Callable[[Path, Progress], Mapping[str, Any]],
        progress: Progress,
    ) -> None:
        about = build(folder, progress)
        digests = {name: file_sha256(folder / name) for name in self.files}
        meta = {**dict(self.facts), **about, "sha256": digests}
        (folder / META).write_text(json.dumps(meta, indent=2) + "\n")
        progress("prepared", 1.0)

    def path(self, data_dir: str | Path) -> Path:
        """The folder below `data_dir`; DataError unless it is whole and as `facts` say."""
        folder = Path(data_dir).absolute() / self.folder
        self.check(folder)
        return folder

    def check(self, folder: Path) -> None:
        """Raises DataError unless `folder` has the facts and the undamaged files."""
        if not folder.exists():
            raise DataError(
                f"{folder} is missing: run python scripts/prepare_data.py "
                f"--workloads={self.workload} --data_dir={folder.parent}"
            )
        remedy = f"delete {folder} and prepare it again"
        try:
            meta = json.loads((folder / META).read_text())
            found = {name: meta[name] for name in dict(self.facts)}
            digests = {name: str(meta["sha256"][name]) for name in self.files}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / META} is damaged ({error!r}): {remedy}") from error
        # Through JSON, as the file went: tuples become lists.
        expected = json.loads(json.dumps(dict(self.facts)))
        if found != expected:
            raise DataError(f"{folder / META} has {found}, expected {expected}: {remedy}")
        for name, digest in digests.items():
            path = folder / name
            try:
                actual = file_sha256(path)
            except OSError as error:
                raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
            if actual != digest:
                raise DataError(f"{path} is damaged (sha256 {actual}, expected {digest}): {remedy}")


def _ignore(stage: str, fraction: float) -> None:
    del stage, fraction
