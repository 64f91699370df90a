"""Tokens and packed rows."""

import numpy as np
import pytest
import wmt_data

from workloads_overrides.c4.tokenizers import train_sentencepiece
from workloads_overrides.small.wmt import dataset, packing
from workloads_overrides.small.wmt.packing import pack, to_arrays
from workloads_overrides.small.wmt.tokenizer import EOS, PAD, UNKNOWN, Tokenizer

TEXTS = [text for pair in wmt_data.SENTENCES.items() for text in pair]


@pytest.fixture(scope="module")
def model():
    return train_sentencepiece(TEXTS, 120).model


@pytest.fixture(scope="module")
def tokenizer(model):
    return Tokenizer(model)


def test_round_trip(tokenizer):
    assert tokenizer.vocab_size == 120
    for text in TEXTS:
        tokens = tokenizer.encode(text)
        assert tokens[-1] == EOS == 1
        assert not {PAD, EOS, UNKNOWN} & set(tokens[:-1])
        assert max(tokens) < 120
        assert tokenizer.decode(tokens) == text


def test_decoding_ends_at_the_first_end(tokenizer):
    tokens = tokenizer.encode("Open the door")
    assert tokenizer.decode(np.array([*tokens, PAD, PAD])) == "Open the door"
    assert tokenizer.decode([*tokens, *tokens]) == "Open the door"
    assert tokenizer.decode(tokens[:-1]) == "Open the door"
    assert tokenizer.decode([*tokens[:-1], PAD]) == "Open the door"
    assert tokenizer.decode([EOS, *tokens]) == ""


def test_characters_that_were_not_trained_are_unknown(tokenizer):
    assert UNKNOWN in tokenizer.encode("Zürich €")


def test_the_real_vocabulary_knows_every_character_and_loses_nothing():
    data = dataset.load(wmt_data.data_dir())
    assert data.tokenizer.vocab_size == dataset.VOCAB_SIZE == 2048
    for name, rows in data.splits.items():
        for array in (rows.inputs, rows.targets):
            assert not (array == UNKNOWN).any(), name
            assert array.max() < 2048
        if name != "train":
            for row in (*rows.inputs, *rows.targets):
                tokens = row[row != PAD].tolist()
                assert data.tokenizer.encode(data.tokenizer.decode(tokens)) == tokens


def random_pairs(seed, count, longest):
    rng = np.random.default_rng(seed)

    def tokens():
        return [*rng.integers(3, 50, rng.integers(0, longest)).tolist(), EOS]

    return [(tokens(), tokens()) for _ in range(count)]


@pytest.mark.parametrize("length", [8, 20])
def test_packing(length):
    pairs = random_pairs(length, 1000, 8)
    rows = pack(pairs, length)
    assert sorted(i for row in rows for i in row) == list(range(1000))
    for row in rows:
        for side in (0, 1):
            assert sum(len(pairs[i][side]) for i in row) <= length
    used = max(sum(len(pair[side]) for pair in pairs) for side in (0, 1)) / (len(rows) * length)
    assert used > 0.8, "rows are well filled"


def test_packing_by_hand(monkeypatch):
    def pairs(*sizes):
        return [([1] * source, [1] * target) for source, target in sizes]

    assert pack(pairs((5, 5), (6, 2), (5, 5), (4, 4)), 10) == [[0, 2], [1, 3]]
    assert pack(pairs((5, 2), (5, 9)), 10) == [[0], [1]], "both sides must fit"
    assert pack(pairs((4, 4), (7, 7), (2, 2)), 10) == [[0], [1, 2]], "the fullest row first"
    monkeypatch.setattr(packing, "_OPEN_ROWS", 1)
    assert pack(pairs((5, 5), (6, 2), (5, 5), (4, 4)), 10) == [[0], [1], [2, 3]]
    assert pack([], 10) == []
    with pytest.raises(ValueError, match=r"pair 1 of \[3, 11\] tokens does not fit into 10"):
        pack(pairs((1, 1), (3, 11)), 10)


def test_arrays():
    inputs, targets = to_arrays([[([5, 1], [6, 7, 1]), ([8, 1], [1])], [([1], [9, 1])]], 5)
    assert inputs.tolist() == [[5, 1, 8, 1, 0], [1, 0, 0, 0, 0]]
    assert targets.tolist() == [[6, 7, 1, 1, 0], [9, 1, 0, 0, 0]]
    assert inputs.dtype == targets.dtype == np.int32


def test_the_real_rows():
    data = dataset.load(wmt_data.data_dir())
    rows = {name: len(split) for name, split in data.splits.items()}
    assert rows == {"train": 6379, "eval_train": 96, "validation": 193, "test": 202}
    for name, split in data.splits.items():
        for array in (split.inputs, split.targets):
            assert array.shape == (rows[name], dataset.LENGTH)
            assert array.dtype == np.int32
            # Padding comes last, and what is before it ends with EOS.
            lengths = (array != PAD).sum(1)
            assert (array[np.arange(dataset.LENGTH) >= lengths[:, None]] == PAD).all()
            assert (array[np.arange(len(array)), lengths - 1] == EOS).all()
        ends = [(array == EOS).sum(1) for array in (split.inputs, split.targets)]
        np.testing.assert_array_equal(*ends)
        assert ends[0].sum() == (dataset.NUM_TRAIN_PAIRS if name == "train" else rows[name])
        if name != "train":
            lengths = (split.inputs != PAD).sum(1)
            assert (np.diff(lengths) >= 0).all(), "sorted, so that short ones end early"
    assert (data.splits["train"].inputs != PAD).mean() > 0.9


def test_batches_of_rows():
    rows = dataset.load(wmt_data.data_dir()).splits["train"]
    ids = np.array([5, 0, 5])
    batch = rows.batch(ids, np.random.default_rng(0))
    assert set(batch) == {"inputs", "targets", "weights"}
    np.testing.assert_array_equal(batch["inputs"], rows.inputs[ids])
    np.testing.assert_array_equal(batch["targets"], rows.targets[ids])
    np.testing.assert_array_equal(batch["weights"], rows.targets[ids] != 0)
    assert batch["weights"].dtype == np.float32


def test_the_data_is_read_once():
    assert dataset.load(wmt_data.data_dir()) is dataset.load(wmt_data.data_dir())
