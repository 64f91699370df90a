"""Groups of things of which some pairs belong together, such as near-duplicates."""

from collections.abc import Iterable

import numpy as np


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """The connected component of each of `count` things: (count,) int64, its first member's number.

    Two things are connected if a chain of `pairs` leads from one to the other.
    """
    parents = list(range(count))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = i = parents[parents[i]]
        return i

    for i, j in pairs:
        first, second = sorted((root(i), root(j)))
        parents[second] = first
    return np.array([root(i) for i in range(count)], np.int64)
