"""Files of allenai/c4: which belong to which split, their documents, and every kind of bad line."""

import json
import pickle

import pytest
from c4_corpus import document, fresh, line_of, write_files, write_lines

from workloads_overrides import DataError
from workloads_overrides.c4.sources.jsonl import JsonlSource
from workloads_overrides.c4.sources.unit import SPLITS, BadDocuments, Unit


def texts_of(source, unit, bad):
    return [text for text, _ in source.documents(unit, bad)]


@pytest.mark.parametrize("suffix", ["json.gz", "jsonl.gz", "json", "jsonl"])
def test_documents_of_every_split_in_order(tmp_path, suffix):
    expected = write_files(tmp_path, fresh(), train=3, validation=8, suffix=suffix)
    (tmp_path / "c4-train.00000-of-01024.json.gz.part").write_bytes(b"a download going on")
    (tmp_path / "README.md").write_text("other files do not matter")
    source = pickle.loads(pickle.dumps(JsonlSource(tmp_path)))
    for split in SPLITS:
        units = source.units(split)
        found = [texts_of(source, unit, BadDocuments()) for unit in units]
        assert found == expected[split]
        assert {unit.split for unit in units} == {split}
        assert [unit.size for unit in units] == [
            (tmp_path / unit.name).stat().st_size for unit in units
        ]
    names = {split: [unit.name[:19] for unit in source.units(split)] for split in SPLITS}
    assert names["train"] == [f"c4-train.{i:05d}-of-0"[:19] for i in range(3)]
    assert names["validation"] == [f"c4-validation.{i:05d}" for i in range(4)]
    assert names["test"] == [f"c4-validation.{i:05d}" for i in range(4, 8)]


def test_positions_grow_to_the_files_size(tmp_path):
    write_files(tmp_path, fresh(), documents=200)
    source = JsonlSource(tmp_path)
    (unit, *_) = source.units("train")
    positions = [position for _, position in source.documents(unit, BadDocuments())]
    assert positions == sorted(positions)
    assert positions[-1] == unit.size


def test_facts_name_no_folder(tmp_path):
    assert JsonlSource(tmp_path).facts() == {"kind": "jsonl"}


@pytest.mark.parametrize(("count", "split"), [(2, (1, 1)), (3, (2, 1)), (5, (3, 2)), (8, (4, 4))])
def test_halves_of_the_validation_files(tmp_path, count, split):
    write_files(tmp_path, fresh(), train=1, validation=count, documents=2)
    source = JsonlSource(tmp_path)
    assert (len(source.units("validation")), len(source.units("test"))) == split
    names = [unit.name for name in ("validation", "test") for unit in source.units(name)]
    assert names == sorted(set(names))


def test_one_validation_file_is_too_few(tmp_path):
    write_files(tmp_path, fresh(), validation=1)
    for split in ("validation", "test"):
        with pytest.raises(DataError, match=f"{tmp_path} has 1 files of the validation split"):
            JsonlSource(tmp_path).units(split)


def test_folders_that_will_not_do(tmp_path):
    source = JsonlSource(tmp_path)
    with pytest.raises(DataError, match=rf"{tmp_path} has no files c4-train\.\*\.json\.gz"):
        source.units("train")
    with pytest.raises(DataError, match=r"has no files c4-validation\.\*\.json\.gz \(or \.jsonl"):
        source.units("test")
    with pytest.raises(DataError, match=r"cannot read .*missing: No such file"):
        JsonlSource(tmp_path / "missing").units("train")


def test_one_part_of_c4_in_two_files(tmp_path):
    write_files(tmp_path, fresh(), train=2)
    (tmp_path / "c4-train.00001-of-01024.json").write_text("{}")
    with pytest.raises(DataError, match=r"00001-of-01024\.json are the same|json\.gz are the same"):
        JsonlSource(tmp_path).units("train")


BAD_LINES = {
    b"{": "malformed JSON (Expecting property name enclosed in double quotes, column 2)",
    b'{"text": "cut off he': "malformed JSON (Unterminated string starting at, column 10)",
    b'{"text": "a"} {"text": "b"}': "malformed JSON (Extra data, column 15)",
    b"nothing of the kind": "malformed JSON (Expecting value, column 1)",
    b"[" * 200_000: "malformed JSON (nested too deeply)",
    b'{"text": 3}': 'no "text" string',
    b'{"text": null}': 'no "text" string',
    b'{"txt": "a"}': 'no "text" string',
    b'["text", "a"]': 'no "text" string',
    b'"text"': 'no "text" string',
    b'{"text": "caf\xe9"}': "not UTF-8 (byte 14)",
    b'\xff\xfe{\x00"\x00': "not UTF-8 (byte 1)",
    b'{"text": "a\\ud83d"}': "not UTF-8 (the text's character 2 is a lone surrogate)",
    b'{"text": "\\udc00\\ud800"}': "not UTF-8 (the text's character 1 is a lone surrogate)",
    b"\xef\xbb\xbf"
    + line_of("a"): "malformed JSON (Unexpected UTF-8 BOM (decode using utf-8-sig), column 1)",
}


@pytest.mark.parametrize(("line", "why"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
@pytest.mark.parametrize("name", ["c4-train.0.json", "c4-train.0.json.gz"])
def test_bad_lines(tmp_path, line, why, name):
    rng = fresh()
    good = [document(rng) for _ in range(rng.randint(2, 9))]
    at = rng.randrange(len(good) + 1)
    lines = [line_of(text) for text in good]
    path = tmp_path / name
    write_lines(path, [*lines[:at], line, *lines[at:]])
    source = JsonlSource(tmp_path)
    unit = Unit("train", path.name, 0)
    with pytest.raises(DataError) as caught:
        texts_of(source, unit, BadDocuments())
    expected = f"{path}, line {at + 1}: {why}"
    assert str(caught.value) == f"{expected} (--skip_bad_lines leaves such documents out)"
    bad = BadDocuments(skip=True)
    assert texts_of(source, unit, bad) == good
    assert (bad.count, bad.first) == (1, expected)


def test_surrogates_in_pairs_and_blank_lines_are_no_faults(tmp_path):
    path = tmp_path / "c4-train.0.json"
    write_lines(path, [b'{"text": "\\ud83d\\ude42"}', b"", b"  \r", line_of(""), b""])
    bad = BadDocuments()
    assert texts_of(JsonlSource(tmp_path), Unit("train", path.name, 0), bad) == ["🙂", ""]
    assert json.dumps("🙂") == '"\\ud83d\\ude42"'


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*c4-train\.0\.json: No such file"):
        texts_of(JsonlSource(tmp_path), Unit("train", "c4-train.0.json", 5), BadDocuments(True))
