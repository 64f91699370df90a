"""Connected components against a plain search."""

import numpy as np
import pytest

from workloads_overrides.small.groups import connected


def plain(count, pairs):
    """The smallest member that can be reached, by spreading labels until nothing changes."""
    labels = list(range(count))
    while True:
        before = list(labels)
        for i, j in pairs:
            labels[i] = labels[j] = min(labels[i], labels[j])
        if labels == before:
            return labels


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "edges"), [(1, 0), (2, 1), (30, 10), (30, 29), (200, 150)])
def test_against_a_plain_search(count, edges, seed):
    rng = np.random.default_rng([seed, count, edges])
    pairs = [tuple(pair) for pair in rng.integers(count, size=(edges, 2)).tolist()]
    found = connected(count, pairs)
    assert found.dtype == np.int64
    assert found.tolist() == plain(count, pairs)


def test_a_long_chain_in_either_direction():
    chain = [(i, i + 1) for i in range(5000)]
    assert not connected(5001, chain).any()
    assert not connected(5001, reversed(chain)).any()


def test_nothing_to_connect():
    assert connected(0, []).tolist() == []
    assert connected(3, []).tolist() == [0, 1, 2]
    assert connected(3, [(1, 1)]).tolist() == [0, 1, 2]


def test_pairs_may_be_a_generator():
    assert connected(4, ((i, 3) for i in (1, 2))).tolist() == [0, 1, 1, 1]
