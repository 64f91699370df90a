"""A random order of rows that needs no memory: any position of it can be asked for directly."""

import numpy as np

_ROUNDS = 6
# The multipliers and shifts of SplitMix64's finaliser (Steele, Lea, Flood 2014).
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


class RowOrder:
    """Passes over rows 0 to n - 1, each in a new order, as one endless sequence of row numbers.

    Every pass is a permutation: a balanced Feistel network over the smallest 4**k >= n, walked
    along its cycles until it lands below n, with round keys from (seed, pass). Pure: the same
    seed gives the same sequence, wherever it is entered. This project's own choice.
    """

    def __init__(self, num_rows: int, seed: int) -> None:
        """Raises ValueError unless there is a row."""
        if num_rows < 1:
            raise ValueError(f"num_rows={num_rows} must be positive")
        self.num_rows = num_rows
        self.seed = seed
        self._half_bits = np.uint64(max(1, ((num_rows - 1).bit_length() + 1) // 2))

    def rows(self, start: int, count: int) -> np.ndarray:
        """The rows at positions `start` to `start + count - 1` of the sequence: (count,) int64."""
        positions = np.arange(start, start + count)
        passes, offsets = positions // self.num_rows, positions % self.num_rows
        rows = np.empty(count, np.int64)
        for number in np.unique(passes):
            chosen = passes == number
            rows[chosen] = self._permuted(offsets[chosen], int(number))
        return rows

    def _permuted(self, offsets: np.ndarray, number: int) -> np.ndarray:
        bits = np.random.Philox(key=np.array([self.seed, number], np.uint64))
        keys = bits.random_raw(_ROUNDS)
        values = self._network(offsets.astype(np.uint64), keys)
        while (outside := values >= self.num_rows).any():
            values[outside] = self._network(values[outside], keys)
        return values.astype(np.int64)

    def _network(self, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
        bits, mask = self._half_bits, (np.uint64(1) << self._half_bits) - np.uint64(1)
        left, right = values >> bits, values & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & mask)
        return (left << bits) | right


def _mixed(values: np.ndarray) -> np.ndarray:
    for shift, multiplier in _MIX:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(multiplier)
    return values ^ (values >> np.uint64(31))
