"""Puts several pairs of token lists into one row, as AlgoPerf's WMT does for training."""

from collections.abc import Sequence

import numpy as np

TokenPair = tuple[list[int], list[int]]

# Rows that still take pairs; more fill rows better and take longer.
_OPEN_ROWS = 64


def pack(pairs: Sequence[TokenPair], length: int) -> list[list[int]]:
    """Which pairs share a row: each goes into the fullest open row that has room on both sides.

    Raises ValueError for a pair that is longer than `length` on a side.
    """
    done: list[list[int]] = []
    open_rows: list[tuple[list[int], list[int]]] = []  # pairs; what room is left on the two sides
    for i, pair in enumerate(pairs):
        sizes = [len(side) for side in pair]
        if max(sizes) > length:
            raise ValueError(f"pair {i} of {sizes} tokens does not fit into {length}")
        fitting = [
            row
            for row in open_rows
            if all(n <= left for n, left in zip(sizes, row[1], strict=True))
        ]
        if fitting:
            members, room = min(fitting, key=lambda row: sum(row[1]))
        else:
            if len(open_rows) == _OPEN_ROWS:
                fullest = min(range(_OPEN_ROWS), key=lambda k: sum(open_rows[k][1]))
                done.append(open_rows.pop(fullest)[0])
            members, room = [], [length, length]
            open_rows.append((members, room))
        members.append(i)
        room[:] = [left - n for n, left in zip(sizes, room, strict=True)]
    return done + [members for members, _ in open_rows]


def to_arrays(rows: Sequence[Sequence[TokenPair]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """The two sides of every row, its pairs one after the other: int32 (rows, length), then 0."""
    arrays = np.zeros((2, len(rows), length), np.int32)
    for r, pairs in enumerate(rows):
        for side, array in enumerate(arrays):
            tokens = [token for pair in pairs for token in pair[side]]
            array[r, : len(tokens)] = tokens
    return arrays[0], arrays[1]
