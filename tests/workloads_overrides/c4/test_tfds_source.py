"""C4 through tensorflow-datasets: what is told where it is not installed, and tiny data with it."""

import pickle
import shutil
import sys

import pytest
from c4_texts import documents
from tfds_data import write_c4

from algoperf_api import HAS_ALGOPERF
from workloads_overrides import DataError
from workloads_overrides.c4.sources import tfds
from workloads_overrides.c4.sources.tfds import TfdsSource
from workloads_overrides.c4.sources.unit import SPLITS, BadDocuments

WITH_TFDS = pytest.mark.skipif(not HAS_ALGOPERF, reason="needs AlgoPerf's harness and its packages")
TRAIN = [f"{text} é" for text in documents(30, seed=30, length=5)]
HELD_OUT = documents(20, seed=31, length=5)


@pytest.fixture(autouse=True)
def forget():
    tfds._builder.cache_clear()
    yield
    tfds._builder.cache_clear()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Three files of each split."""
    folder = tmp_path_factory.mktemp("tfds")
    write_c4(folder, {"train": TRAIN, "validation": HELD_OUT}, shards=3)
    return folder


@pytest.fixture
def copied(data_dir, tmp_path):
    """The data set's own folder, to be damaged."""
    return shutil.copytree(data_dir / "c4" / "en" / "3.1.0", tmp_path / "data")


def read(source, unit, skip=False):
    bad = BadDocuments(skip)
    return list(source.documents(unit, bad)), bad


def one_line_of(action):
    with pytest.raises(DataError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["tensorflow_datasets", "tensorflow"])
def test_a_package_is_missing(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError) as caught:
        tfds._library(name)
    assert str(caught.value) == (
        f"--source=tfds needs the package {name}, which is not installed: pip install "
        f"tensorflow tensorflow-datasets=={tfds.VERSION}, or run it where AlgoPerf is installed"
    )


@pytest.mark.parametrize("action", ["facts", "units", "documents"])
def test_whatever_is_asked_without_the_package_is_told_in_one_line(monkeypatch, tmp_path, action):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    source = TfdsSource(tmp_path)
    ask = {
        "facts": source.facts,
        "units": lambda: source.units("train"),
        "documents": lambda: next(source.documents(tfds.Unit("train", "x", 0), BadDocuments())),
    }
    assert "tensorflow_datasets, which is not installed" in one_line_of(ask[action])


def test_nothing_is_imported_before_it_is_needed(tmp_path):
    before = set(sys.modules)
    source = pickle.loads(pickle.dumps(TfdsSource(tmp_path)))
    assert source == TfdsSource(tmp_path)
    assert not {"tensorflow", "tensorflow_datasets"} & (set(sys.modules) - before)


def test_a_folder_without_a_data_set(monkeypatch, tmp_path):
    monkeypatch.setattr(tfds, "_library", lambda name: None)
    for folder in (tmp_path, tmp_path / "missing"):
        message = one_line_of(TfdsSource(folder).facts)
        assert message.startswith(f"{folder} is no prepared data set of tensorflow-datasets: ")
        assert str(folder / "c4" / "en" / "3.1.0") in message


@WITH_TFDS
@pytest.mark.official
def test_units_are_files_in_order(data_dir):
    source = TfdsSource(data_dir)
    folder = data_dir / "c4" / "en" / "3.1.0"
    files = {split: [unit.name for unit in source.units(split)] for split in SPLITS}
    assert files == {
        "train": [f"c4-train.tfrecord-0000{i}-of-00003" for i in range(3)],
        "validation": [f"c4-validation.tfrecord-0000{i}-of-00003" for i in range(2)],
        "test": ["c4-validation.tfrecord-00002-of-00003"],
    }
    for split in SPLITS:
        for unit in source.units(split):
            assert unit.split == split
            assert unit.size == (folder / unit.name).stat().st_size


@WITH_TFDS
@pytest.mark.official
def test_documents_are_all_there_once_in_order(data_dir):
    source = pickle.loads(pickle.dumps(TfdsSource(data_dir)))
    found = {}
    for split in SPLITS:
        found[split] = []
        for unit in source.units(split):
            documents, bad = read(source, unit)
            positions = [position for _, position in documents]
            assert positions == sorted(positions)
            assert positions[-1] == unit.size
            assert not bad.count
            found[split] += [text for text, _ in documents]
    assert found["train"] == TRAIN
    assert found["validation"] + found["test"] == HELD_OUT
    assert 0 < len(found["test"]) < len(found["validation"])


@WITH_TFDS
@pytest.mark.official
def test_the_data_sets_own_folder_is_the_same(data_dir, copied):
    sources = TfdsSource(data_dir), TfdsSource(copied)
    facts, units = [s.facts() for s in sources], [s.units("test") for s in sources]
    assert (
        facts[0]
        == facts[1]
        == {
            "kind": "tfds",
            "name": "c4/en/3.1.0",
            "examples": {"train": 30, "validation": 20},
        }
    )
    assert units[0] == units[1]


@WITH_TFDS
@pytest.mark.official
def test_a_missing_file_matters_when_it_is_read(copied):
    missing = copied / "c4-train.tfrecord-00001-of-00003"
    missing.unlink()
    source = TfdsSource(copied)
    units = source.units("train")
    assert [unit.size > 0 for unit in units] == [True, False, True]
    assert read(source, units[0])[0]
    assert one_line_of(lambda: read(source, units[1])) == (
        f"{missing} is missing: the data set is not whole"
    )


@WITH_TFDS
@pytest.mark.official
@pytest.mark.parametrize("damage", ["truncated", "changed", "empty"])
def test_a_damaged_file(copied, damage):
    path = copied / "c4-train.tfrecord-00001-of-00003"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "truncated": content[:middle],
            "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
        }[damage]
    )
    source = TfdsSource(copied)
    message = one_line_of(lambda: read(source, source.units("train")[1], skip=True))
    assert message.startswith(f"cannot read {path}: ")
    assert "{{" not in message


@WITH_TFDS
@pytest.mark.official
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_facts(copied, content):
    (copied / "dataset_info.json").write_text(content)
    message = one_line_of(TfdsSource(copied).facts)
    assert message.startswith(f"{copied} cannot be read: ")


@WITH_TFDS
@pytest.mark.official
def test_a_document_that_is_not_utf8(tmp_path):
    texts = ["first", b"\xff\xfe", "last"]
    folder = write_c4(tmp_path, {"train": texts, "validation": ["a", "b"]}, shards=1)
    source = TfdsSource(tmp_path)
    (unit,) = source.units("train")
    found, bad = read(source, unit, skip=True)
    assert [text for text, _ in found] == ["first", "last"]
    assert bad.count == 1
    where = f"{folder / unit.name}, document 2: not UTF-8 (byte 1)"
    assert bad.first == where
    assert one_line_of(lambda: read(source, unit)).startswith(where)
    message = one_line_of(lambda: source.units("test"))
    assert message.startswith(f"{tmp_path} has 1 files of the validation split: two are needed")


@WITH_TFDS
@pytest.mark.official
def test_another_data_set(tmp_path):
    folder = write_c4(tmp_path, {"train": ["a"]}, shards=1, feature="words")
    message = one_line_of(TfdsSource(folder).facts)
    assert message == f"{folder} has the features words, url, but no text"


@WITH_TFDS
@pytest.mark.official
def test_a_missing_split(tmp_path):
    write_c4(tmp_path, {"train": ["a"]}, shards=1)
    message = one_line_of(lambda: TfdsSource(tmp_path).units("validation"))
    assert message == f"{tmp_path} has no split 'validation', only train"
