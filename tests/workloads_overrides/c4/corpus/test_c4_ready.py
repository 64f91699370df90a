"""A prepared folder: whether it has what is asked for."""

import json
import re

import pytest
from c4_corpus import Shown, a_request, contents

from workloads_overrides import DataError
from workloads_overrides.c4.amounts import size_of
from workloads_overrides.c4.corpus.ready import check_suffices
from workloads_overrides.c4.corpus.run import prepare_corpus
from workloads_overrides.c4.corpus.vocabulary import Vocabulary
from workloads_overrides.c4.meta import read_origin
from workloads_overrides.c4.tokenizers import T5_SHA256, ByteTokenizer

BYTE = Vocabulary("byte")


def refused(request, **changes):
    """What is said when it is asked for with other options."""
    other = a_request(request.source.folder, request.data_dir, **changes)
    before = contents(request.data_dir)
    with pytest.raises(DataError) as caught:
        prepare_corpus(other, Shown())
    assert contents(request.data_dir) == before
    assert str(caught.value).endswith(
        "; --overwrite prepares it anew, another --data_dir beside it"
    )
    return str(caught.value)


def test_as_much_or_less_is_fine(prepared):
    rows = prepared.amounts.rows["train"]
    for fewer in (rows, rows - 1, 1):
        prepare_corpus(a_request(prepared.source.folder, prepared.data_dir, fewer), Shown())


def test_too_few_rows(prepared):
    rows = prepared.amounts.rows["train"]
    text = refused(prepared, train_rows=rows + 1)
    assert f"has {rows * 256 + 1:,} tokens of train, fewer than the {rows * 256 + 257:,}" in text
    text = refused(prepared, train_rows=1, eval_rows=2)
    assert "has 257 tokens of validation, fewer than the 513" in text


def test_another_layout(prepared):
    text = refused(prepared, train_rows=1, layout="truncated")
    assert "has layout 'packed', not 'truncated'" in text


def test_another_tokenizer(prepared, tmp_path):
    model = tmp_path / "spiece.model"  # which is not needed to tell
    text = refused(prepared, train_rows=1, vocabulary=Vocabulary("t5", model))
    assert f"not {T5_SHA256!r}" in text
    assert "has tokenizer_sha256 '" in text
    text = refused(prepared, train_rows=1, vocabulary=Vocabulary("train"))
    assert "has tokenizer 'byte', not 'own'" in text


def test_a_trained_one_of_another_size(prepared):
    path = prepared.folder / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "tokenizer": "own", "vocab_size": 30_000}))
    text = refused(prepared, train_rows=1, vocabulary=Vocabulary("train", size=5000))
    assert "has vocab_size 30000, not 5000" in text
    same = Vocabulary("train", size=30_000)
    folder = prepared.source.folder
    prepare_corpus(a_request(folder, prepared.data_dir, 1, vocabulary=same), Shown())


def test_what_the_folder_was_made_from_is_told(prepared):
    shown = Shown()
    prepare_corpus(a_request(prepared.source.folder, prepared.data_dir, 1), shown)
    first, *_, last = sorted(path.name for path in prepared.source.folder.glob("c4-train*"))
    assert shown.notes == [
        f"{prepared.folder} is there already, with all that c4_60m needs; source: kind jsonl, "
        f"{first} to {last}; tokenizer: byte of 258 tokens, sha256 {ByteTokenizer.sha256}"
    ]
    path = prepared.folder / "meta.json"
    meta = json.loads(path.read_text())
    for source in (None, {}, {"kind": "x", "units": {"train": []}}):
        path.write_text(json.dumps({**meta, "source": source}))
        assert "source: not told; tokenizer: byte" in read_origin(prepared.folder)


@pytest.mark.parametrize("damage", ["remove", "truncate"])
def test_missing_and_truncated_shards(prepared, damage):
    path = prepared.folder / "test_00000.bin"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncate":
        path.write_bytes(content[:-2])
    text = refused(prepared, train_rows=1)
    assert f"{path} is missing or truncated" in text


def test_no_meta_json(prepared):
    (prepared.folder / "meta.json").unlink()
    assert "meta.json is missing" in refused(prepared, train_rows=1)


def test_a_vocabulary_that_the_model_has_not(prepared):
    path = prepared.folder / "meta.json"
    path.write_text(re.sub('"vocab_size": 258', '"vocab_size": 50257', path.read_text()))
    assert "tokens below 50257, but the model knows 32000 only" in refused(prepared, train_rows=1)
    with pytest.raises(DataError, match="50257"):
        check_suffices(prepared.folder, prepared.amounts, size_of("c4"), BYTE)
