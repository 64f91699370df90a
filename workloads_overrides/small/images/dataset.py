"""Reads the prepared images, or says in one line why they cannot be read."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..prepared import Prepared
from .source import DIGITS, ImageSource

FORMAT_VERSION = 1  # raise it when the choice of images, their division or the arrays change
ARRAYS = "arrays.npz"

# Of the training pixels, in units of 0 to 255. A test holds them against the data.
TRAIN_MEAN = 33.57
TRAIN_STDDEV = 78.75


@dataclass(frozen=True, eq=False)
class Images:
    """n images, one after the other; a split is a contiguous range of them."""

    images: np.ndarray  # (n, 28, 28) uint8
    labels: np.ndarray  # (n,) uint8
    counts: dict[str, int]  # images per split, in the order in which they lie

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(images, labels) of 'train', 'validation' or 'test'; ValueError for others."""
        start = 0
        for split, count in self.counts.items():
            if split == name:
                return self.images[start : start + count], self.labels[start : start + count]
            start += count
        raise ValueError(f"unknown split {name!r}; allowed: {', '.join(self.counts)}")


def prepared(source: ImageSource = DIGITS) -> Prepared:
    """The prepared folder, one for all workloads on these images."""
    return Prepared(
        workload="imagenet_resnet_small",
        folder="imagenet_small",
        facts={
            "format_version": FORMAT_VERSION,
            "source_sha256": source.wheel.sha256,
            "counts": source.counts,
            "split_sha256": source.split_sha256,
        },
        files=(ARRAYS,),
    )


def load(data_dir: str | Path, source: ImageSource = DIGITS) -> Images:
    """The images under `data_dir`, read once per process; DataError if they cannot be."""
    return _load(Path(data_dir).absolute(), source)


@lru_cache(maxsize=4)
def _load(data_dir: Path, source: ImageSource) -> Images:
    with np.load(prepared(source).path(data_dir) / ARRAYS) as arrays:
        return Images(arrays["images"], arrays["labels"], source.counts)
