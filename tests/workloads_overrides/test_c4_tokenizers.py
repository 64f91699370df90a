"""Tokens from text and back: bytes, and SentencePiece models that are trained or given."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
from c4_cases import corpus

from workloads_overrides import DataError
from workloads_overrides.c4.tokenizers import (
    EOS,
    PAD,
    ByteTokenizer,
    SentencePieceTokenizer,
    load_sentencepiece,
    train_sentencepiece,
)

TEXTS = ["", "plain", "séance ☃", "two\nlines\x00", "the cat of a dog"]


@pytest.fixture(scope="module")
def trained():
    return train_sentencepiece(corpus(300, seed=9), 64)


def test_bytes():
    tokens = ByteTokenizer().encode(TEXTS)
    for text, row in zip(TEXTS, tokens, strict=True):
        assert row.dtype == np.uint16
        assert row.tolist() == [2 + byte for byte in text.encode()]
        assert ByteTokenizer().decode(row) == text
    assert ByteTokenizer().decode(np.array([67, EOS, 68, PAD])) == "AB"
    everything = ByteTokenizer().encode(["".join(map(chr, range(128)))])[0]
    assert everything.min() > max(PAD, EOS)
    assert ByteTokenizer.vocab_size > 255 + 2


def test_trained_pieces(trained):
    assert trained.vocab_size == 64
    texts = corpus(40, seed=10)
    for text, row in zip(texts, trained.encode(texts), strict=True):
        assert row.dtype == np.uint16
        assert row.min() > max(PAD, EOS)
        assert row.max() < 64
        assert len(row) < len(text), "pieces are longer than characters"
        assert trained.decode(row) == text
        assert trained.decode(np.append(row, [EOS, PAD])) == text


def test_text_is_not_normalised(trained):
    text = "the cat"
    assert trained.decode(trained.encode([text])[0]) == text
    # Compatibility forms would become plain letters under SentencePiece's default rules.
    other = train_sentencepiece(["ﬁ ﬀ ²"] * 50, 10)
    assert other.decode(other.encode(["ﬁ ²"])[0]) == "ﬁ ²"


def test_training_is_deterministic(trained):
    again = train_sentencepiece(iter(corpus(300, seed=9)), 64)
    assert again.model == trained.model
    assert again.sha256 == trained.sha256 == hashlib.sha256(trained.model).hexdigest()
    assert train_sentencepiece(corpus(300, seed=8), 64).sha256 != trained.sha256


def test_training_is_deterministic_between_processes(trained, request):
    code = (
        "from c4_cases import corpus\n"
        "from workloads_overrides.c4.tokenizers import train_sentencepiece\n"
        "print(train_sentencepiece(corpus(300, seed=9), 64).sha256)"
    )
    root = request.config.rootpath
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = ['.', 'tests/support']\n{code}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == trained.sha256


def test_too_little_text_for_the_vocabulary():
    with pytest.raises(DataError, match="cannot train 500 pieces") as caught:
        train_sentencepiece(["a b"], 500)
    assert "\n" not in str(caught.value)


def test_a_file_with_its_checksum(trained, tmp_path):
    path = tmp_path / "spiece.model"
    path.write_bytes(trained.model)
    loaded = load_sentencepiece(path, trained.sha256)
    texts = corpus(5, seed=11)
    for a, b in zip(loaded.encode(texts), trained.encode(texts), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(DataError, match=f"sha256 {trained.sha256}, expected 00"):
        load_sentencepiece(path, "00")


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"spiece\.model: No such file"):
        load_sentencepiece(tmp_path / "spiece.model", "00")


@pytest.mark.parametrize("content", [b"", b"no model", bytes(range(256))])
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_sentencepiece(path, hashlib.sha256(content).hexdigest())
    assert "\n" not in str(caught.value)


def test_a_model_with_other_special_tokens():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus(300, seed=9)),
        model_writer=model,
        model_type="bpe",
        vocab_size=64,
        minloglevel=2,
    )
    with pytest.raises(DataError, match=r"pad and eos \(-1, 2\), expected \(0, 1\)"):
        SentencePieceTokenizer(model.getvalue())


def test_sentencepiece_is_imported_by_preparation_only(request):
    code = (
        "import sys\n"
        "from workloads_overrides import import_workload\n"
        "import workloads_overrides.c4.tokenizers, workloads_overrides.c4.writer\n"
        "import_workload('c4_small', 'pytorch')\n"
        "assert 'sentencepiece' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=request.config.rootpath)
