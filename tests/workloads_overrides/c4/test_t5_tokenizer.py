"""T5's file and what is told where it is not it; pickling; vocabularies that are too large."""

import hashlib
import io
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import sentencepiece
from c4_texts import documents

from workloads_overrides import DataError
from workloads_overrides.c4.tokenizers import (
    T5_SHA256,
    ByteTokenizer,
    SentencePieceTokenizer,
    check_vocabulary,
    load_t5,
    pieces,
    train_own,
    train_sentencepiece,
)

WHERE = (
    "T5's tokenizer is `spiece.model` of huggingface's t5-base repository, "
    "https://huggingface.co/google-t5/t5-base/resolve/main/spiece.model, 791,656 bytes, "
    "sha256 d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
)


@pytest.fixture(scope="module")
def own():
    return train_own(documents(300, seed=4), 600)


def message(path):
    with pytest.raises(DataError) as caught:
        load_t5(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(f": {WHERE}")
    return text.removesuffix(f": {WHERE}")


def test_a_missing_file(tmp_path):
    path = tmp_path / "spiece.model"
    assert message(path) == f"cannot read the tokenizer {path}: No such file or directory"
    assert message(tmp_path) == f"cannot read the tokenizer {tmp_path}: Is a directory"


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version of git-lfs"])
def test_another_file(tmp_path, own, content):
    path = tmp_path / "spiece.model"
    for found in (content, own.model):
        path.write_bytes(found)
        digest = hashlib.sha256(found).hexdigest()
        assert message(path) == (
            f"the tokenizer {path} has {len(found):,} bytes and sha256 {digest}, "
            f"expected {T5_SHA256}"
        )


def test_the_file_itself(tmp_path, own, monkeypatch):
    """Another model in its place: T5's is not shipped."""
    path = tmp_path / "spiece.model"
    path.write_bytes(own.model)
    monkeypatch.setattr(pieces, "T5_SHA256", own.sha256)
    loaded = load_t5(str(path))
    assert (loaded.name, loaded.sha256, loaded.vocab_size) == ("t5", own.sha256, 600)
    for a, b in zip(loaded.encode(["some text"]), own.encode(["some text"]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_tokenizers_are_pickled(own):
    texts = documents(20, seed=5)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for tokenizer in (own, train_sentencepiece(texts, 60), ByteTokenizer()):
            pickled = pickle.dumps(tokenizer)
            same = pickle.loads(pickled)
            assert (same.name, same.sha256, same.vocab_size) == (
                tokenizer.name,
                tokenizer.sha256,
                tokenizer.vocab_size,
            )
            elsewhere = pool.submit(tokenizer.encode, texts).result()
            for a, b in zip(elsewhere, tokenizer.encode(texts), strict=True):
                assert a.dtype == np.uint16
                np.testing.assert_array_equal(a, b)
    assert len(pickle.dumps(own)) < len(own.model) + 200, "nothing but the model and a name"


def test_a_vocabulary_that_the_model_does_not_know(own):
    check_vocabulary(own, 600)
    check_vocabulary(ByteTokenizer(), 258)
    with pytest.raises(
        DataError, match=r"^the tokenizer own has 600 tokens, but the model knows 599 only$"
    ):
        check_vocabulary(own, 599)


@pytest.fixture(scope="module")
def too_large():
    """(number of pieces, model): every character of Chinese and Korean becomes a piece."""
    characters = [chr(i) for i in (*range(0x4E00, 0x9FFF), *range(0xAC00, 0xD7A3))]
    characters += [chr(i) for i in range(0x20000, 0x2A6D0)]
    texts = ["".join(characters[i : i + 500]) for i in range(0, len(characters), 500)]
    count, model = len(characters) + 4, io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        character_coverage=1.0,
        vocab_size=count,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return count, model.getvalue()


def test_a_vocabulary_that_does_not_fit_into_16_bits(too_large):
    count, model = too_large
    with pytest.raises(DataError, match=f"^{count} tokens do not fit into 16 bits$"):
        SentencePieceTokenizer(model)


@pytest.mark.parametrize("train", [train_own, train_sentencepiece])
def test_a_vocabulary_that_does_not_fit_is_not_trained(train):
    def texts():
        pytest.fail("no text is needed to know that")
        yield ""

    with pytest.raises(DataError, match=r"^65537 tokens do not fit into 16 bits$"):
        train(texts(), 65537)
