"""The vocabulary of one's own: any text has tokens, the same texts give the same model, fast."""

import itertools
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from c4_texts import documents
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads_overrides import DataError
from workloads_overrides.c4.tokenizers import EOS, PAD, training
from workloads_overrides.c4.tokenizers.training import (
    SENTENCE_BYTES,
    train_own,
    train_sentencepiece,
)

VOCAB = 1000
UNKNOWN = 2
TEXTS = documents(400, seed=1)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # Cs: cannot be encoded as UTF-8


@pytest.fixture(scope="module")
def own():
    return train_own(TEXTS, VOCAB)


@given(ANY_TEXT)
@settings(deadline=None)
def test_any_text_has_known_tokens(own, text):
    (tokens,) = own.encode([text])
    assert tokens.dtype == np.uint16
    assert not np.isin(tokens, [PAD, EOS, UNKNOWN]).any()
    assert (tokens < VOCAB).all()


@given(st.lists(ANY_TEXT))
@settings(deadline=None)
def test_texts_do_not_depend_on_their_neighbours(own, texts):
    for text, tokens in zip(texts, own.encode(texts), strict=True):
        np.testing.assert_array_equal(tokens, own.encode([text])[0])


@pytest.mark.parametrize("text", ["日本語", "🤖 xyz", "ß€ and þorn"])
def test_characters_that_training_did_not_see(own, text):
    assert own.decode(own.encode([text])[0]) == text


def test_names_of_special_tokens_in_a_text_are_text(own):
    text = "<pad> </s> <unk> <s> <0x41>"
    (tokens,) = own.encode([text])
    assert not np.isin(tokens, [PAD, EOS, UNKNOWN]).any()
    assert own.decode(tokens) == text


def test_pieces_are_words_and_parts_of_words(own):
    assert own.name == "own"
    assert own.vocab_size == VOCAB
    fresh = documents(50, seed=1)[:20]
    for text, tokens in zip(fresh, own.encode(fresh), strict=True):
        assert own.decode(tokens) == text
        assert len(tokens) < 0.6 * len(text)


def test_text_is_normalised_as_t5_does(own):
    tokens = own.encode(["a b", " a\n\tb ", "\uff41\u00a0b"])
    for other in tokens[1:]:
        np.testing.assert_array_equal(other, tokens[0])


def test_the_same_texts_give_the_same_model(own):
    assert train_own(iter(TEXTS), VOCAB).model == own.model
    assert train_own(TEXTS[::-1][:350], VOCAB).sha256 != own.sha256


def test_the_same_model_in_another_process(own, request):
    code = (
        "import sys\n"
        "sys.path[:0] = ['.', 'tests/support']\n"
        "from c4_texts import documents\n"
        "from workloads_overrides.c4.tokenizers import train_own\n"
        f"print(train_own(documents(400, seed=1), {VOCAB}).sha256)\n"
    )
    command = [sys.executable, "-c", code]
    root = request.config.rootpath
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == own.sha256


def test_no_more_is_read_than_is_trained_on():
    def endless():
        yield from texts
        while True:
            read.append(1)
            yield "never seen words after the end"

    read = []
    texts = documents(500, seed=3, length=30)  # none is so long that it would be cut
    characters = sum(map(len, texts))
    model = train_own(texts, VOCAB).model
    assert train_own(endless(), VOCAB, characters).model == model
    assert not read
    assert train_own(endless(), VOCAB, characters + 300).model != model
    assert len(read) == 10


def test_a_document_longer_than_the_limit_is_cut(own):
    whole = " ".join(TEXTS)
    assert len(whole) > 10 * SENTENCE_BYTES
    one = train_own([whole], VOCAB, len(whole))
    assert one.vocab_size == VOCAB, "SentencePiece by itself would leave it out"
    words = set("".join(documents(20, seed=1)).lower())
    assert words <= set(" ." + "".join(one.decode(np.array([i])) for i in range(3, VOCAB)).lower())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(deadline=None, max_examples=60)
def test_cut_pieces_are_all_of_a_line(part):
    line = part * 200
    limit = SENTENCE_BYTES // 4
    pieces = list(training._pieces(line))
    assert all(0 < len(piece.encode()) <= SENTENCE_BYTES for piece in pieces)
    assert "".join(pieces).replace(" ", "") == line.replace(" ", "")
    for before, after in itertools.pairwise(pieces):
        next_word = after.split(" ")[0]
        assert len(before) == limit or len(before) + 1 + len(next_word) > limit


@pytest.mark.parametrize("train", [train_own, train_sentencepiece])
@pytest.mark.parametrize(
    "error", [DataError("x.json.gz is truncated"), OSError("no disk"), KeyboardInterrupt()]
)
def test_an_error_of_reading_is_told_as_it_is(train, error):
    def texts():
        yield from TEXTS[:5]
        raise error

    with pytest.raises(type(error)) as caught:
        train(texts(), VOCAB)
    assert caught.value is error


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["too few words"], r"the text has words for \d+ at most: take fewer pieces, or more text"),
        ([], "there is no text"),
        (["", "\n\n"], "there is no text"),
    ],
)
def test_too_little_text(texts, reason):
    with pytest.raises(DataError, match=f"^cannot train 32000 pieces: {reason}$"):
        train_own(texts)


def test_as_many_pieces_as_are_told():
    """One more is an error that names the number."""
    texts = documents(5, seed=6)
    with pytest.raises(DataError) as caught:
        train_own(texts, 5000)
    most = int(re.search(r"for (\d+) at most", str(caught.value))[1])
    assert train_own(texts, most).vocab_size == most
    with pytest.raises(DataError, match=f"words for {most} at most"):
        train_own(texts, most + 1)


@pytest.mark.parametrize("vocab_size", [4, 200, 262])
def test_too_few_pieces(vocab_size):
    with pytest.raises(DataError, match=f"^cannot train {vocab_size} pieces: ") as caught:
        train_own(TEXTS, vocab_size)
    assert "\n" not in str(caught.value)


def test_three_megabytes_per_second(own):
    """By processor time, which other processes do not add to; about five times the claim."""
    texts = documents(3000, seed=2)
    size = sum(len(text.encode()) for text in texts)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        own.encode(texts)
        seconds.append(time.process_time() - start)
    assert size / min(seconds) > 3e6
