"""Groups of images that look alike, which have to stay on one side of a split."""

from collections.abc import Iterator

import numpy as np

from ..groups import connected

THRESHOLD = 0.98
_BLOCK = 500


def similarities(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosine similarities of slightly blurred images (n, h, w) and (m, h, w): (n, m) float64.

    The blur (weights 1, 2, 1 in both directions) lets strokes match that are off by a pixel.
    """
    return _directions(images) @ _directions(others).T


def _directions(images: np.ndarray) -> np.ndarray:
    """Blurred images as rows of length 1; an empty image is the zero row, like nothing else."""
    blurred = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    for axis in (1, 2):
        x = np.moveaxis(blurred, axis, 0)
        blurred = np.moveaxis(x[:-2] + 2 * x[1:-1] + x[2:], 0, axis)
    rows = blurred.reshape(len(images), -1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def near_duplicate_groups(images: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """A group number for each image (n, h, w), int64: equal if a chain of near-duplicates joins.

    Near-duplicates have a similarity of at least `threshold`. A group's number is the index
    of its first image.
    """
    return connected(len(images), _alike(images, threshold))


def _alike(images: np.ndarray, threshold: float) -> Iterator[tuple[int, int]]:
    for start in range(0, len(images), _BLOCK):
        close = similarities(images[start : start + _BLOCK], images) >= threshold
        for i, j in np.argwhere(close).tolist():
            yield start + i, j
