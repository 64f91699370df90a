"""Near-duplicates and splits: against plain versions, and on the real data."""

import itertools

import numpy as np
import pytest
import wmt_data

from workloads_overrides.small.wmt import dataset, splits
from workloads_overrides.small.wmt.near_duplicates import (
    groups,
    masked,
    nearly_same,
    similar,
    words,
)
from workloads_overrides.small.wmt.pairs import Pair
from workloads_overrides.small.wmt.splits import SPLITS, split
from workloads_overrides.small.wmt.tokenizer import EOS, PAD


def random_sets(seed, count=150, vocabulary=12):
    rng = np.random.default_rng(seed)
    letters = np.array([chr(97 + i) for i in range(vocabulary)])
    return [frozenset(rng.choice(letters, rng.integers(1, 9)).tolist()) for _ in range(count)]


def random_pairs(seed, **kwargs):
    columns = random_sets(seed, **kwargs), random_sets(seed + 100, **kwargs)
    return [Pair(" ".join(sorted(a)), " ".join(sorted(b))) for a, b in zip(*columns, strict=True)]


def components(count, edges):
    """Labels that spread until nothing changes."""
    labels = list(range(count))
    changed = True
    while changed:
        changed = False
        for i, j in edges:
            low = min(labels[i], labels[j])
            changed |= labels[i] != labels[j]
            labels[i] = labels[j] = low
    return labels


def all_edges(sets):
    pairs = itertools.combinations(range(len(sets)), 2)
    return [(i, j) for i, j in pairs if 4 * len(sets[i] & sets[j]) >= 3 * len(sets[i] | sets[j])]


@pytest.mark.parametrize("vocabulary", [5, 9, 14, 40])
def test_similar_connects_what_comparing_all_does(vocabulary):
    for seed in range(5):
        sets = random_sets(seed, vocabulary=vocabulary)
        found = list(similar(sets))
        assert set(map(frozenset, found)) <= set(map(frozenset, all_edges(sets)))
        ours, theirs = (components(len(sets), edges) for edges in (found, all_edges(sets)))
        assert ours == theirs
        assert vocabulary == 40 or 1 < len(set(theirs)) < len(sets)


def test_the_threshold_itself_counts():
    a, b = frozenset("abc"), frozenset("abcd")
    assert nearly_same(a, b)
    assert list(similar([a, b])) == [(1, 0)]
    assert not nearly_same(frozenset("ab"), frozenset("abc"))
    assert list(similar([frozenset("ab"), frozenset("abc")])) == []


def test_masked():
    assert masked("Phase 2: {name}-Wert (%(n)s °C)!") == "phase wert c"
    assert masked("PHASE wert, C") == masked("Phase 2: {name}-Wert (%(n)s °C)!")
    assert words("An, an AUS") == {"an", "aus"}


def test_groups_connect_over_both_sides():
    pairs = [
        Pair("eins zwei drei", "alpha"),
        Pair("vier", "ALPHA 2"),
        Pair("fünf", "beta"),
        Pair("Vier!", "gamma"),
        Pair("sechs", "delta"),
        Pair("eins zwei drei sieben", "epsilon"),
    ]
    assert groups(pairs) == [[0, 1, 3, 5], [2], [4]]


def test_groups_are_connected_components():
    pairs = random_pairs(3, count=80)
    edges = [e for column in zip(*pairs, strict=True) for e in all_edges([*map(words, column)])]
    labels = components(len(pairs), edges)
    expected = [[i for i, x in enumerate(labels) if x == label] for label in sorted(set(labels))]
    assert groups(pairs) == expected
    assert 1 < len(expected) < len(pairs)


def made_up(count):
    """Pairs that have nothing in common."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = ["".join(x) for x in itertools.islice(itertools.product(letters, repeat=3), count)]
    return [Pair(f"{name} q{name}", f"v{name} w{name}") for name in names]


def test_shares_of_the_splits():
    divided = split(made_up(5000))
    assert tuple(divided) == SPLITS
    assert sum(map(len, divided.values())) == 5000
    for name in ("validation", "test"):
        assert len(divided[name]) == pytest.approx(85, abs=30)


def test_a_pair_stays_where_it_is_when_others_come():
    few, many = split(made_up(1000)), split(made_up(4000))
    for name in SPLITS:
        assert set(few[name]) <= set(many[name])


def test_the_order_of_pairs_does_not_move_them():
    pairs = random_pairs(5, count=300, vocabulary=24)
    divided, turned = split(pairs), split(pairs[::-1])
    for name in SPLITS:
        keys = [{tuple(map(masked, pair)) for pair in d[name]} for d in (divided, turned)]
        assert keys[0] == keys[1]


def test_large_groups_are_for_training():
    group = [Pair(f"{name} gleich", "same") for name in ("a", "b", "c", "d", "e")]
    divided = split(made_up(2000) + group)
    assert set(group) <= set(divided["train"])
    assert splits._LARGEST_HELD_OUT == 4


def test_pairs_that_differ_in_numbers_only_count_once():
    pairs = [Pair("Phase 1", "Stage 1"), Pair("Phase 2", "Stage 2"), Pair("Phase", "Step")]
    assert split(pairs)["train"] == [pairs[0], pairs[2]]


def texts(split_name):
    """All pairs of the prepared split, as strings."""
    data = dataset.load(wmt_data.data_dir())
    rows = data.splits[split_name]
    pairs = []
    for inputs, targets in zip(rows.inputs, rows.targets, strict=True):
        sides = [
            [data.tokenizer.decode(part) for part in np.split(row, np.flatnonzero(row == EOS) + 1)]
            for row in (inputs[inputs != PAD], targets[targets != PAD])
        ]
        pairs += [Pair(*pair) for pair in zip(*sides, strict=True) if any(pair)]
    return pairs


@pytest.fixture(scope="module")
def real():
    return {name: texts(name) for name in SPLITS}


def test_no_leak_in_the_real_data(real):
    """Nothing in one split is nearly the same as anything in another, on either side."""
    assert [len(real[name]) for name in SPLITS] == [
        dataset.NUM_TRAIN_PAIRS,
        dataset.NUM_VALIDATION,
        dataset.NUM_TEST,
    ]
    for name, other in itertools.combinations(SPLITS, 2):
        for side in range(2):
            mine = [words(pair[side]) for pair in real[name]]
            by_word = {}
            for theirs in {words(pair[side]) for pair in real[other]}:
                for word in theirs:
                    by_word.setdefault(word, []).append(theirs)
            # Sets that are nearly the same share a word, so nothing else needs comparing.
            for found in mine:
                for theirs in itertools.chain(*(by_word.get(word, []) for word in found)):
                    assert not nearly_same(found, theirs), (found, theirs)


def test_the_real_pairs_are_clean_and_unique(real):
    pairs = [pair for name in SPLITS for pair in real[name]]
    assert len({tuple(map(masked, pair)) for pair in pairs}) == len(pairs)
    assert all(masked(text) and text == " ".join(text.split()) for pair in pairs for text in pair)


def test_eval_train_is_part_of_train(real):
    chosen = texts("eval_train")
    assert len(chosen) == dataset.NUM_EVAL_TRAIN == len(set(chosen))
    assert set(chosen) <= set(real["train"])
