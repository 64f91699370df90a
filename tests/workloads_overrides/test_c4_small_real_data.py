"""The real documents of `c4_small`: sizes, and that no text of one split is in another."""

from pathlib import Path

import numpy as np
import pytest
from workload_cases import data_dir

from workloads_overrides import import_workload
from workloads_overrides.c4.meta import read_meta
from workloads_overrides.c4.tokenizers import EOS, SentencePieceTokenizer
from workloads_overrides.small.c4.dataset import AWS, CONTEXT
from workloads_overrides.small.c4.documents import MIN_CHARACTERS, words

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder():
    return Path(data_dir("c4_small")) / "c4_small"


@pytest.fixture(scope="module")
def texts(folder):
    """{split: documents}, from the tokens that training and evaluations read."""
    tokenizer = SentencePieceTokenizer((folder / "tokenizer.model").read_bytes())
    result = {}
    for split in SPLITS:
        tokens = np.fromfile(folder / f"{split}_00000.bin", "<u2")
        parts = np.split(tokens, np.flatnonzero(tokens == EOS) + 1)
        assert len(parts[-1]) == 0
        result[split] = tokenizer._processor.decode([part[:-1].tolist() for part in parts[:-1]])
    return result


def runs(text, length=8):
    found = words(text)
    return {" ".join(found[i : i + length]) for i in range(len(found) - length + 1)}


def test_no_eight_words_of_a_split_are_in_another(texts):
    found = {split: set().union(*map(runs, texts[split])) for split in SPLITS}
    assert len(found["train"]) > 500_000
    assert len(found["validation"]) > 5000
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not found[first] & found[second]


def masked(text):
    """Letters of a text, in which near-duplicates that differ in numbers are the same."""
    return "".join(words(text))


def test_no_document_is_there_twice(texts):
    everything = [masked(text) for split in SPLITS for text in texts[split]]
    assert len(set(everything)) == len(everything)


def test_near_duplicates_by_shared_words_are_rare(texts):
    """Of a held-out document's pairs of words most are common English; of its runs of five few."""
    train = set().union(*(runs(text, 5) for text in texts["train"]))
    for split in ("validation", "test"):
        shares = [
            sum(run in train for run in found) / len(found)
            for found in (runs(text, 5) for text in texts[split])
        ]
        assert np.mean(shares) < 0.25
        assert np.mean(np.array(shares) > 0.8) < 0.03


def test_tokens_stand_for_the_whole_text(texts, folder):
    meta = read_meta(folder)
    for split in SPLITS:
        assert all(len(text) >= MIN_CHARACTERS for text in texts[split])
        assert all(text.isascii() for text in texts[split])
        assert sum(map(len, texts[split])) == meta.split(split).text_bytes
        assert 2.5 < meta.split(split).text_bytes / meta.split(split).tokens < 4


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_rows_are_the_documents(framework, folder):
    workload = import_workload("c4_small", framework)
    for split, count in AWS.rows.items():
        tokens = np.fromfile(folder / f"{split}_00000.bin", "<u2")
        rows = workload._rows(split, str(folder.parent))
        assert len(rows) == count == getattr(workload, f"num_{split}_examples")
        ids = np.array([0, 1, count // 2, count - 1])
        batch = rows.batch(ids, None)
        for i, row in enumerate(ids):
            expected = tokens[row * CONTEXT : (row + 1) * CONTEXT + 1]
            np.testing.assert_array_equal(batch["inputs"][i], expected[:-1])
            np.testing.assert_array_equal(batch["targets"][i], expected[1:])
        assert batch["weights"].min() == 1
        assert tokens.max() < workload.model_config.vocab == AWS.vocab_size
        assert (len(tokens) - 1) // CONTEXT - count < 20, "hardly anything is stored in vain"


def test_every_piece_is_used(folder):
    tokens = np.fromfile(folder / "train_00000.bin", "<u2")
    counts = np.bincount(tokens, minlength=AWS.vocab_size)
    assert counts[0] == 0, "nothing is padded"
    assert counts[2] == 0, "nothing is unknown"
    assert (counts[3:] > 0).mean() > 0.95
