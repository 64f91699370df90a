"""Batches of images: normalised, in training shifted at random."""

import numpy as np

from .dataset import TRAIN_MEAN, TRAIN_STDDEV


class ImageRows:
    """Rows of `base.rows` over the images of one split.

    Args:
      images: (n, h, w) uint8.
      labels: (n,) integers.
      max_shift: in pixels, of training images.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, max_shift: int) -> None:
        self.max_shift = max_shift
        room = (max_shift, max_shift)
        padded = np.pad(images, ((0, 0), room, room)).astype(np.float32)
        normalised = (padded - np.float32(TRAIN_MEAN)) / np.float32(TRAIN_STDDEV)
        # [i, y, x] is image i as seen from (y, x): no memory of its own.
        self._crops = np.lib.stride_tricks.sliding_window_view(
            normalised, images.shape[1:], axis=(1, 2)
        )
        self._labels = labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, ids: np.ndarray, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        """`inputs` (B, h, w, 1) float32, `targets` (B,) int32, `weights` (B,) float32.

        With `rng`, a random crop of the image padded with background on all sides: a shift of
        up to `max_shift` pixels in either direction, every one as likely. (AlgoPerf's random
        resized crops and flips would turn some digits into others.)
        """
        if rng is None:
            y = x = np.full(len(ids), self.max_shift)
        else:
            y, x = rng.integers(0, 2 * self.max_shift + 1, (2, len(ids)))
        return {
            "inputs": self._crops[ids, y, x][..., None],
            "targets": self._labels[ids],
            "weights": np.ones(len(ids), np.float32),
        }
