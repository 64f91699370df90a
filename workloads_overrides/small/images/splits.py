"""Divides images into splits by what they show: class by class, near-duplicates together."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from ...errors import DataError
from .near_duplicates import near_duplicate_groups


def split_images(
    images: np.ndarray, labels: np.ndarray, per_class: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The indices of every split's images, with `per_class` images of every class.

    Hashes of the pixels shuffle the images, so their order in the file does not matter, and a
    split's order says nothing of its classes. Of each class the largest groups of
    near-duplicates go first, each to the split that lacks most, so that they end up in the large
    splits and what is left fills every split exactly.

    Args:
      images: (n, h, w) uint8.
      labels: (n,).
      per_class: images of each class in each split; all images of a class together.

    Raises DataError, one line, where that does not work out.
    """
    order = _shuffled(images, labels, np.arange(len(images)), b"groups")
    groups: dict[int, list[int]] = defaultdict(list)
    for i, number in zip(order, near_duplicate_groups(images[order]), strict=True):
        groups[number].append(i)
    for group in groups.values():
        if len(found := np.unique(labels[group])) > 1:
            raise DataError(f"near-duplicates have different labels: {found.tolist()}")

    chosen: dict[str, list[int]] = {split: [] for split in per_class}
    for label in np.unique(labels):
        room = dict(per_class)
        own = [group for group in groups.values() if labels[group[0]] == label]
        for group in sorted(own, key=len, reverse=True):  # stable: hashes decide between equals
            split = max(room, key=lambda name: room[name])
            room[split] -= len(group)
            chosen[split] += group
        if any(room.values()):
            raise DataError(
                f"the images of class {label} do not divide into {dict(per_class)}: "
                f"{sum(map(len, own))} in {len(own)} groups, wanting {room}"
            )
    # Another order than that which decided on the splits: theirs begin with late hashes.
    return {
        split: _shuffled(images, labels, np.array(ids, np.int64), b"rows")
        for split, ids in chosen.items()
    }


def _shuffled(
    images: np.ndarray, labels: np.ndarray, ids: np.ndarray, purpose: bytes
) -> np.ndarray:
    """`ids` in the order of a hash of their images; equal images in that of their labels."""
    keys = {i: (hashlib.sha256(purpose + images[i].tobytes()).digest(), labels[i]) for i in ids}
    return np.array(sorted(ids, key=keys.__getitem__), np.int64)
