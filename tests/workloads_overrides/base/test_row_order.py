"""Orders of rows: permutations, pure, uniform, and as cheap for thirty million rows as for ten."""

import time
import tracemalloc

import numpy as np
import pytest

from workloads_overrides.base.row_order import RowOrder

SIZES = [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 1023, 1024, 1025, 100_003]
SEED = 2**64 - 3  # seeds fill 64 bits


@pytest.mark.parametrize("n", SIZES)
def test_every_pass_is_a_permutation(n):
    order = RowOrder(n, SEED)
    for number in (0, 1, 7):
        rows = order.rows(number * n, n)
        assert rows.dtype == np.int64
        np.testing.assert_array_equal(np.sort(rows), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 17, 100])
def test_the_sequence_is_the_same_wherever_it_is_entered(n):
    whole = RowOrder(n, 5).rows(0, 4 * n + 10)
    assert whole.shape == (4 * n + 10,)
    for start in range(0, 3 * n + 7, max(1, n // 7)):
        for count in (0, 1, 3, n + 1):
            part = RowOrder(n, 5).rows(start, count)
            np.testing.assert_array_equal(part, whole[start : start + count])


def plain_rows(n, seed, start, count):
    """Position by position, in Python's own integers."""
    bits = max(1, next(k for k in range(64) if 4**k >= n))
    mask, word = 2**bits - 1, 2**64 - 1

    def mixed(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & word
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & word
        return x ^ (x >> 31)

    rows = []
    for position in range(start, start + count):
        key = np.array([seed, position // n], np.uint64)
        keys = [int(key) for key in np.random.Philox(key=key).random_raw(6)]
        value = position % n
        while True:
            left, right = value >> bits, value & mask
            for key in keys:
                left, right = right, left ^ (mixed(right ^ key) & mask)
            value = (left << bits) | right
            if value < n:
                break
        rows.append(value)
    return rows


@pytest.mark.parametrize("n", [1, 4, 5, 1000, 30_000_000])
def test_against_plain_integers(n):
    start = 3 * n - 3
    expected = plain_rows(n, SEED, start, 12)
    np.testing.assert_array_equal(RowOrder(n, SEED).rows(start, 12), expected)


def test_the_order_stays_what_it_is():
    """A recorded run can be repeated with another version of NumPy."""
    rows = RowOrder(1000, 7).rows(1998, 5)
    np.testing.assert_array_equal(rows, [933, 558, 67, 35, 687])


def test_seeds_and_passes_give_other_orders():
    n = 1000
    seeds = (0, 1, 2**63 + 5, 2**63 + 6, SEED)  # floats cannot tell the large ones apart
    orders = [RowOrder(n, seed).rows(number * n, n) for seed in seeds for number in range(3)]
    for i, first in enumerate(orders):
        for second in orders[:i]:
            # Two random permutations agree in one place on average.
            assert (first == second).sum() < 10


def excess(counts, degrees):
    """How many standard deviations chi-square lies above its expectation for equal counts."""
    expected = counts.sum() / counts.size
    return (((counts - expected) ** 2 / expected).sum() - degrees) / np.sqrt(2 * degrees)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 16, 17])
def test_every_row_is_equally_often_at_every_position(n):
    counts = np.zeros((n, n))
    for seed in range(400):
        rows = RowOrder(n, seed).rows(0, 2 * n)
        np.add.at(counts, (np.arange(2 * n) % n, rows), 1)
    assert abs(excess(counts, (n - 1) ** 2)) < 5


@pytest.mark.parametrize("n", [5, 16, 17])
def test_every_row_is_equally_often_after_every_other(n):
    counts = np.zeros((n, n))
    for seed in range(400):
        rows = RowOrder(n, seed).rows(0, n)
        np.add.at(counts, (rows[:-1], rows[1:]), 1)
    different = counts[~np.eye(n, dtype=bool)]
    assert counts.trace() == 0
    assert excess(different, different.size) < 5


@pytest.mark.parametrize("n", [1000, 4096, 5000])
def test_large_orders_are_uniform_in_bins(n):
    """Positions against rows, and rows against the rows after them, in a grid of 10 by 10."""
    by_position, by_predecessor = np.zeros((2, 10, 10))
    bins = np.arange(n) * 10 // n
    for seed in range(40):
        rows = bins[RowOrder(n, seed).rows(n, n)]
        np.add.at(by_position, (bins, rows), 1)
        np.add.at(by_predecessor, (rows[:-1], rows[1:]), 1)
    assert abs(excess(by_position, 81)) < 5
    assert abs(excess(by_predecessor, 81)) < 5


def test_neighbouring_rows_do_not_stay_together():
    n = 10_000
    rows = RowOrder(n, 3).rows(0, n)
    steps = np.diff(rows)
    # A step from i to j: triangular over (-n, n); +1 or any other single step comes about once.
    assert np.bincount(steps + n).max() < 10
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 5 / np.sqrt(n)


def test_thirty_million_rows_cost_no_memory_and_no_time():
    order = RowOrder(30_000_000, 1)
    order.rows(0, 512)
    tracemalloc.start()
    started = time.perf_counter()
    rows = [order.rows(29_999_900 + i * 512, 512) for i in range(10)]
    seconds = time.perf_counter() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000
    assert seconds < 1
    assert len(np.unique(rows)) > 5000


@pytest.mark.parametrize("n", [0, -1])
def test_no_rows(n):
    with pytest.raises(ValueError, match=f"num_rows={n} must be positive"):
        RowOrder(n, 0)
