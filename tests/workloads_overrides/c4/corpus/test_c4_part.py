"""Parts against a plain reading of their documents; every cut of them."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from c4_corpus import document, fresh, packed_bytes

from workloads_overrides import DataError
from workloads_overrides.base.files import file_sha256
from workloads_overrides.c4.corpus import part
from workloads_overrides.c4.corpus.cut import cut
from workloads_overrides.c4.corpus.part import PartRecord, PartTask, write_part
from workloads_overrides.c4.sources.unit import Unit
from workloads_overrides.c4.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()


class Texts:
    """A source of the documents given; None is one that cannot be read."""

    def __init__(self, texts):
        self.texts = texts

    def facts(self):
        return {"kind": "texts"}

    def units(self, split):
        return [Unit(split, "all", len(self.texts))]

    def documents(self, unit, bad):
        for number, text in enumerate(self.texts, 1):
            if text is None:
                bad(f"line {number}", "no text")
            else:
                yield text, number


def a_task(folder, row_tokens=0, max_tokens=10**9, skip=True):
    unit = Unit("train", "all", 100)
    return PartTask(0, unit, folder / "train_00000.bin", row_tokens, max_tokens, BYTES.sha256, skip)


def make(texts, task):
    told = []
    record = write_part(Texts(texts), BYTES, task, lambda *numbers: told.append(numbers))
    return record, told


def tokens_of(texts, row_tokens):
    """[(stored tokens, kept, bytes)] of each document."""
    found = []
    for text in texts:
        whole = [*(byte + 2 for byte in text.encode()), 1]
        row = whole[: row_tokens or None]
        text_bytes = round((len(whole) - 1) * len(row) / len(whole))
        found.append((row + [0] * (row_tokens - len(row)), len(row), text_bytes))
    return found


@pytest.fixture(params=[0, 33], ids=["packed", "truncated"])
def row_tokens(request):
    return request.param


@pytest.fixture
def texts():
    rng = fresh()
    return [document(rng, 60) for _ in range(40)]


@pytest.mark.parametrize("block", [1, 100, 10**6])
def test_all_documents(tmp_path, monkeypatch, texts, row_tokens, block):
    monkeypatch.setattr(part, "BLOCK_CHARACTERS", block)
    task = a_task(tmp_path, row_tokens)
    record, told = make(texts, task)
    expected = tokens_of(texts, row_tokens)
    stored = [token for tokens, _, _ in expected for token in tokens]
    assert np.fromfile(task.path, "<u2").tolist() == stored
    assert (record.stored, record.kept) == (len(stored), sum(kept for _, kept, _ in expected))
    assert record.text_bytes == sum(size for *_, size in expected)
    assert (record.sha256, record.table_sha256) == (
        (file_sha256(task.path), file_sha256(task.table))
    )
    assert PartRecord.read(task.record) == record
    assert record.identity == json.loads(json.dumps(task.identity))
    assert told[0] == (0, 0, 0)
    assert told[-1] == (len(texts), record.text_bytes, record.stored)
    names = {".bin", ".documents", ".json"}
    assert {path.suffix for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("block", [1, 100, 10**6])
def test_it_ends_with_the_document_that_is_enough(tmp_path, monkeypatch, texts, row_tokens, block):
    monkeypatch.setattr(part, "BLOCK_CHARACTERS", block)
    whole = tokens_of(texts, row_tokens)
    ends = np.cumsum([len(tokens) for tokens, _, _ in whole])
    for max_tokens in (1, int(ends[9]), int(ends[9]) + 1, int(ends[-1]), int(ends[-1]) + 1):
        task = a_task(tmp_path, row_tokens, max_tokens)
        record, _ = make(texts, task)
        count = next((i + 1 for i, end in enumerate(ends) if end >= max_tokens), len(ends))
        assert record.stored == ends[count - 1]
        assert record.text_bytes == sum(size for *_, size in whole[:count])
        assert task.table.stat().st_size == 12 * count


def test_it_reads_no_further_than_it_must(tmp_path, monkeypatch, texts):
    monkeypatch.setattr(part, "BLOCK_CHARACTERS", 1)
    size = len(texts[0].encode()) + len(texts[1].encode()) + 2
    record, told = make([*texts[:2], None], a_task(tmp_path, max_tokens=size, skip=False))
    assert record.stored == size
    assert told[-1][0] == 2


def test_every_cut_of_a_packed_part(tmp_path, texts):
    task = a_task(tmp_path)
    record, _ = make(texts, task)
    for stored in range(1, record.stored + 1):
        found = cut(task, record, stored)
        assert (found.stored, found.kept) == (stored, stored)
        assert found.text_bytes == packed_bytes([texts], stored)
    assert cut(task, record, record.stored).text_bytes == record.text_bytes


def test_every_cut_of_a_part_of_rows(tmp_path, texts):
    task = a_task(tmp_path, 33)
    record, _ = make(texts, task)
    expected = tokens_of(texts, 33)
    for rows in range(1, len(texts) + 1):
        found = cut(task, record, rows * 33)
        assert found.kept == sum(kept for _, kept, _ in expected[:rows])
        assert found.text_bytes == sum(size for *_, size in expected[:rows])


def test_skipped_documents_by_place(tmp_path, monkeypatch, texts):
    monkeypatch.setattr(part, "BLOCK_CHARACTERS", 50)
    rng = fresh()
    places = sorted(rng.sample(range(len(texts)), 7))
    some = [None if i in places else text for i, text in enumerate(texts)]
    task = a_task(tmp_path, 33)
    record, _ = make([*some, None], task)
    assert record.skipped == 8
    assert record.first_skipped == f"line {places[0] + 1}: no text"
    good = [i for i, text in enumerate(some) if text is not None]
    for rows, last in enumerate(good, 1):
        assert cut(task, record, rows * 33).skipped == sum(place < last for place in places)
    with pytest.raises(DataError, match=f"line {places[0] + 1}: no text"):
        make(some, replace(task, skip_bad_lines=False))


def test_a_cut_beyond_the_end_or_of_another_table(tmp_path, texts):
    task = a_task(tmp_path)
    record, _ = make(texts, task)
    for stored in (0, record.stored + 1):
        with pytest.raises(DataError, match="does not fit"):
            cut(task, record, stored)
    task.table.write_bytes(task.table.read_bytes()[:-12])
    with pytest.raises(DataError, match="does not fit"):
        cut(task, record, 5)


def test_no_documents_at_all(tmp_path, row_tokens):
    task = a_task(tmp_path, row_tokens)
    record, _ = make([None, None], task)
    assert (record.stored, record.kept, record.text_bytes, record.skipped) == (0, 0, 0, 2)
    assert task.path.read_bytes() == b""


def test_what_ends_early_leaves_nothing_with_a_parts_name(tmp_path, texts):
    task = a_task(tmp_path)
    make(texts, task)  # a record that no longer holds

    def tell(position, *_):
        if position:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_part(Texts(texts), BYTES, task, tell)
    assert not task.record.exists()
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("name", ["train_00000.bin.tmp", "train_00000.documents.tmp"])
def test_errors_name_the_file_that_cannot_be_written(tmp_path, texts, name):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        make(texts * 2000, a_task(tmp_path))
    assert caught.value.filename == str(tmp_path / name)
    assert not os.path.exists(tmp_path / "train_00000.json")


def test_a_record_with_any_bit_changed_is_none_or_the_same(tmp_path, texts):
    task = a_task(tmp_path)
    record, _ = make(texts, task)
    content = task.record.read_bytes()
    same = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        task.record.write_bytes(changed)
        found = PartRecord.read(task.record)
        assert found in (None, record)
        same += found == record
    assert same < len(content) / 10  # white space


def test_records_that_are_none(tmp_path):
    path = tmp_path / "r.json"
    for content in ("", "{", "[]", "{}", '{"stored": 1}', "null"):
        path.write_text(content)
        assert PartRecord.read(path) is None
    assert PartRecord.read(tmp_path / "missing.json") is None
