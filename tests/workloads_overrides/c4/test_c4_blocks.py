"""Blocks of documents as they are stored, against a plain loop."""

import numpy as np
import pytest
from c4_corpus import document, fresh

from workloads_overrides.c4.blocks import encode_block
from workloads_overrides.c4.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()


def plain(texts, row_tokens):
    """(tokens, kept, bytes) of each document."""
    for text in texts:
        whole = [*(byte + 2 for byte in text.encode()), 1]
        if not row_tokens:
            yield whole, len(whole), len(whole) - 1
            continue
        kept = min(len(whole), row_tokens)
        row = (whole + [0] * row_tokens)[:row_tokens]
        yield row, kept, round((len(whole) - 1) * kept / len(whole))


@pytest.fixture
def texts():
    rng = fresh()
    return [document(rng, 80) for _ in range(50)] + [""]


@pytest.mark.parametrize("row_tokens", [0, 1, 20, 1000])
def test_a_block(texts, row_tokens):
    block = encode_block(BYTES, texts, row_tokens)
    expected = list(plain(texts, row_tokens))
    assert block.tokens.dtype == np.uint16
    assert block.tokens.tolist() == [token for tokens, _, _ in expected for token in tokens]
    assert block.kept.tolist() == [kept for _, kept, _ in expected]
    assert block.text_bytes.tolist() == [size for *_, size in expected]
    assert block.stored.tolist() == [len(tokens) for tokens, _, _ in expected]


@pytest.mark.parametrize("row_tokens", [0, 20])
def test_the_beginning_of_a_block(texts, row_tokens):
    block = encode_block(BYTES, texts, row_tokens)
    ends = np.cumsum(block.stored).tolist()
    for stored in range(ends[-1] + 3):
        # As few documents as have that many tokens.
        count = min(sum(end < stored for end in ends) + 1, len(ends)) if stored else 0
        first = block.until(stored)
        same = encode_block(BYTES, texts[:count], row_tokens)
        for name in ("tokens", "kept", "text_bytes", "stored"):
            np.testing.assert_array_equal(getattr(first, name), getattr(same, name))


def test_halves_of_bytes_go_to_the_even_number():
    # 5 of 10 tokens stand for 9 bytes / 2, and 1 of 2 for half a byte.
    assert encode_block(BYTES, ["x" * 9], 5).text_bytes.tolist() == [4]
    assert encode_block(BYTES, ["x"], 1).text_bytes.tolist() == [0]
    assert encode_block(BYTES, ["x" * 3], 2).text_bytes.tolist() == [2]


def test_no_documents():
    for row_tokens in (0, 5):
        block = encode_block(BYTES, [], row_tokens)
        assert block.tokens.shape == block.kept.shape == block.stored.shape == (0,)
        assert block.until(3).tokens.shape == (0,)
