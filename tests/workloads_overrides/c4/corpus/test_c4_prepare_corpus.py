"""A preparation from end to end, in this process, against plain oracles."""

import json
from dataclasses import replace

import numpy as np
import pytest
from c4_corpus import (
    CONTEXT,
    Shown,
    a_request,
    contents,
    fresh,
    line_of,
    most_rows,
    packed_bytes,
    stream,
    write_files,
    write_lines,
)

from workloads_overrides import DataError
from workloads_overrides.base.cache import locked
from workloads_overrides.c4.corpus.run import prepare_corpus
from workloads_overrides.c4.data import TokenRows, TokenShards
from workloads_overrides.c4.meta import read_meta

SPLITS = ("train", "validation", "test")


def stored(folder, split):
    """The tokens of a split's shards, in the order that meta.json has."""
    shards = read_meta(folder).split(split).shards
    return [token for name, _ in shards for token in np.fromfile(folder / name, "<u2").tolist()]


def rows_of(files):
    """Rows for a test: as many as there are, and a few less in training, so that it is cut."""
    evaluation = min(most_rows(files["validation"]), most_rows(files["test"]))
    return max(1, most_rows(files["train"]) - 3), max(1, evaluation)


@pytest.mark.parametrize("suffix", ["json.gz", "jsonl.gz", "json", "jsonl"])
def test_packed_is_the_beginning_of_the_stream(tmp_path, suffix):
    files = write_files(tmp_path / "in", fresh(), suffix=suffix, documents=60)
    train, evaluation = rows_of(files)
    shown = Shown()
    prepare_corpus(a_request(tmp_path / "in", tmp_path / "out", train, evaluation), shown)
    folder = tmp_path / "out" / "c4"
    meta = read_meta(folder)
    assert (meta.layout, meta.row_tokens, meta.tokenizer, meta.vocab_size) == (
        ("packed", 0, "byte", 258)
    )
    for split, rows in zip(SPLITS, (train, evaluation, evaluation), strict=True):
        tokens = rows * CONTEXT + 1
        assert stored(folder, split) == stream(files[split])[:tokens]
        assert meta.splits[split].tokens == meta.splits[split].stored == tokens
        assert meta.splits[split].text_bytes == packed_bytes(files[split], tokens)
        # What a workload then opens.
        last = TokenRows(TokenShards(folder, meta.split(split)), meta, CONTEXT, rows)
        assert (
            last.batch(np.array([rows - 1]))["targets"][0, -1] == stream(files[split])[tokens - 1]
        )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".c4.lock", "c4"]
    assert len(shown.ends) == 1


def test_truncated_is_a_row_for_each_document(tmp_path):
    files = write_files(tmp_path / "in", fresh())
    rows = {split: max(1, sum(map(len, files[split])) - 2) for split in SPLITS}
    evaluation = min(rows["validation"], rows["test"])
    request = a_request(
        tmp_path / "in", tmp_path / "out", rows["train"], evaluation, layout="truncated"
    )
    prepare_corpus(request, Shown())
    meta = read_meta(request.folder)
    assert (meta.layout, meta.row_tokens) == ("truncated", 257)
    for split in SPLITS:
        expected, kept, text_bytes = [], 0, 0
        texts = [text for file in files[split] for text in file]
        for text in texts[: rows["train"] if split == "train" else evaluation]:
            whole = [*(byte + 2 for byte in text.encode()), 1]
            row = whole[:257]
            kept += len(row)
            text_bytes += round((len(whole) - 1) * len(row) / len(whole))
            expected += row + [0] * (257 - len(row))
        assert stored(request.folder, split) == expected
        assert (meta.splits[split].tokens, meta.splits[split].text_bytes) == (kept, text_bytes)


@pytest.mark.parametrize("layout", ["packed", "truncated"])
def test_exactly_all_that_there_is_and_one_more(tmp_path, layout):
    files = write_files(tmp_path / "in", fresh(), documents=20)
    rows = sum(map(len, files["train"]))
    if layout == "packed":
        # Fill the stream up to whole rows.
        short = CONTEXT - (len(stream(files["train"])) - 1) % CONTEXT
        last = "x" * (short - 1 + CONTEXT)
        name = sorted((tmp_path / "in").glob("c4-train*"))[-1].name
        (tmp_path / "in" / name.replace("00003", "00004").removesuffix(".gz")).write_text(
            json.dumps({"text": last})
        )
        files["train"].append([last])
        rows = most_rows(files["train"])
        assert rows * CONTEXT + 1 == len(stream(files["train"]))
    request = a_request(tmp_path / "in", tmp_path / "out", rows + 1, layout=layout)
    have = len(stream(files["train"])) if layout == "packed" else rows * 257
    need = (rows + 1) * CONTEXT + 1 if layout == "packed" else (rows + 1) * 257
    with pytest.raises(DataError) as caught:
        prepare_corpus(request, Shown())
    assert f"too few tokens of train: {have:,} in" in str(caught.value)
    assert f"{need:,} are needed" in str(caught.value)
    assert not request.folder.exists()
    request = a_request(tmp_path / "in", tmp_path / "out2", rows, layout=layout)
    prepare_corpus(request, Shown())
    assert read_meta(request.folder).splits["train"].stored == have


def test_files_that_were_missing_can_be_added(tmp_path):
    files = write_files(tmp_path / "in", fresh(), train=4, documents=40)
    (extra,) = (tmp_path / "in").glob("c4-train.00003*")
    extra.rename(tmp_path / extra.name)
    request = a_request(tmp_path / "in", tmp_path / "out", most_rows(files["train"]))
    with pytest.raises(DataError, match=r"too few tokens of train: .* in 3 files"):
        prepare_corpus(request, Shown())
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("*.bin")}
    (tmp_path / extra.name).rename(extra)
    shown = Shown()
    prepare_corpus(request, shown)
    assert any("5 parts are finished already" in note for note in shown.notes)
    moved = {(request.folder / "train_00000.bin").stat().st_ino}
    assert moved <= set(before.values())
    fresh_request = a_request(tmp_path / "in", tmp_path / "again", most_rows(files["train"]))
    prepare_corpus(fresh_request, Shown())
    assert contents(request.folder) == contents(fresh_request.folder)


def test_meta_json_tells_everything_and_no_times_or_paths(tmp_path):
    files = write_files(tmp_path / "in", fresh())
    request = a_request(tmp_path / "in", tmp_path / "out", most_rows(files["train"]))
    prepare_corpus(request, Shown())
    text = (request.folder / "meta.json").read_text()
    meta = json.loads(text)
    assert str(tmp_path) not in text
    digests = contents(request.folder)
    del digests["meta.json"]
    assert meta["sha256"] == digests
    assert meta["source"]["kind"] == "jsonl"
    units = meta["source"]["units"]
    for split, prefix in (("train", "c4-train."), ("validation", "c4-validation.")):
        for name, size in units[split]:
            assert name.startswith(prefix)
            assert size == (tmp_path / "in" / name).stat().st_size
    names = {name for split in units.values() for name, _ in split}
    assert len(names) == sum(map(len, units.values()))
    assert meta["skipped"] == {"train": 0, "validation": 0, "test": 0}
    assert meta["truncated_files"] == meta["skipped"]
    assert "sentencepiece_version" not in meta  # bytes need none


def test_only_units_that_are_needed_are_read(tmp_path):
    files = write_files(tmp_path / "in", fresh(), documents=40)
    (last,) = (tmp_path / "in").glob("c4-train.00003*")
    last.write_bytes(b"not gzip at all")
    rows = most_rows(files["train"][:3])
    request = a_request(tmp_path / "in", tmp_path / "out", rows)
    prepare_corpus(request, Shown())
    with pytest.raises(DataError, match=r"c4-train\.00003.*from line 1: damaged or trunc"):
        prepare_corpus(a_request(tmp_path / "in", tmp_path / "out2", rows + 1), Shown())


def test_skipped_documents_are_counted_up_to_the_cut(tmp_path):
    files = write_files(tmp_path / "in", fresh(), documents=40)
    train = sorted((tmp_path / "in").glob("c4-train*"))
    options = {"train_rows": most_rows(files["train"][:2])}
    clean = a_request(tmp_path / "in", tmp_path / "clean", **options)
    prepare_corpus(clean, Shown())
    write_lines(train[0], [b"{", *map(line_of, files["train"][0]), b"[]"])
    # The cut is before these two.
    write_lines(train[1], [*map(line_of, files["train"][1]), b"{", line_of("x" * 300)])
    bad = a_request(tmp_path / "in", tmp_path / "bad", **options)
    with pytest.raises(DataError, match=f"{train[0]}, line 1: malformed JSON .*skip_bad_lines"):
        prepare_corpus(bad, Shown())
    shown = Shown()
    skipping = a_request(tmp_path / "in", tmp_path / "skip", **options, skip_bad_lines=True)
    prepare_corpus(skipping, shown)
    (note,) = (note for note in shown.notes if "bad documents" in note)
    assert note.startswith(f"2 bad documents left out; the first: {train[0]}, line 1: malformed")
    assert json.loads((skipping.folder / "meta.json").read_text())["skipped"]["train"] == 2
    assert stored(skipping.folder, "train") == stored(clean.folder, "train")


def test_truncated_files_are_counted_apart(tmp_path):
    files = write_files(tmp_path / "in", fresh(), documents=40)
    train = sorted((tmp_path / "in").glob("c4-train*"))
    # As an interrupted download; what a trailer lacks comes after all documents.
    whole = train[0].read_bytes()
    train[0].write_bytes(whole[:-4])
    write_lines(train[1], [b"{", *map(line_of, files["train"][1])])
    last = train[3].read_bytes()
    train[3].write_bytes(last[:-4])  # where the split ends before its end
    # Half a row is left over, so that the last unit is cut.
    needed = len(stream(files["train"])) - CONTEXT // 2
    request = a_request(tmp_path / "in", tmp_path / "out", (needed - 1) // CONTEXT)
    told = f"{train[0]}, the rest of the file from line {len(files['train'][0]) + 1}: damaged"
    with pytest.raises(DataError) as caught:
        prepare_corpus(request, Shown())
    assert told in str(caught.value)
    shown = Shown()
    skipping = replace(request, skip_bad_lines=True)
    prepare_corpus(skipping, shown)
    (note,) = (note for note in shown.notes if "left out" in note)
    start = "1 bad documents and the rest of 1 damaged files left out; the first: "
    assert note.startswith(start + told)
    meta = json.loads((request.folder / "meta.json").read_text())
    assert meta["skipped"] == {"train": 1, "validation": 0, "test": 0}
    assert meta["truncated_files"] == {"train": 1, "validation": 0, "test": 0}
    tokens = read_meta(request.folder).split("train").stored
    assert stored(request.folder, "train") == stream(files["train"])[:tokens]


def test_one_who_comes_second_is_told(tmp_path):
    files = write_files(tmp_path / "in", fresh())
    request = a_request(tmp_path / "in", tmp_path / "out", most_rows(files["train"]))
    (tmp_path / "out").mkdir()
    busy = pytest.raises(DataError, match="is being prepared by another process")
    with locked(tmp_path / "out" / ".c4.lock"), busy:
        prepare_corpus(request, Shown())
    assert not request.folder.exists()
    prepare_corpus(request, Shown())


def test_an_estimate_comes_first_and_progress_goes_to_the_end(tmp_path):
    files = write_files(tmp_path / "in", fresh())
    shown = Shown()
    rows = most_rows(files["train"])
    prepare_corpus(a_request(tmp_path / "in", tmp_path / "out", rows), shown)
    total = rows * CONTEXT + 1 + 2 * (CONTEXT + 1)
    assert shown.notes[0].startswith(f"{total:,} tokens to make of about ")
    assert "with 1 process" in shown.notes[0]
    fractions = [done for label, done, _ in shown.updates]
    assert {label for label, _, _ in shown.updates} == {"c4"}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert f"{total:,} tokens" in shown.ends[0]


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(tmp_path, monkeypatch):
    files = write_files(tmp_path / "in", fresh())
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("U", (), {"free": 3_000_000})())
    request = a_request(tmp_path / "in", tmp_path / "out", most_rows(files["train"]))
    with pytest.raises(DataError, match=r"out has 3\.0 MB free, but about \d+ MB are needed"):
        prepare_corpus(request, Shown())
    assert not list((tmp_path / "out").rglob("*.bin"))
