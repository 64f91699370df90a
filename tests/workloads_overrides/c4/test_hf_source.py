"""C4 through `datasets`: a fake of the package, and the package itself where it is installed."""

import importlib.util
import pickle
import sys

import pytest
from c4_texts import json_lines, split_files, write_json_gz
from fake_datasets import COMMIT, FakeDatasets

from workloads_overrides import DataError
from workloads_overrides.c4.sources.hf import HfSource
from workloads_overrides.c4.sources.unit import BadDocuments, Unit

README = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/c4-train.*.json.gz
  - split: validation
    path: en/c4-validation.*.json.gz
---
"""
FILES = {
    "train": split_files("train", 3, seed=10),
    "validation": split_files("validation", 5, seed=20),
}
HUB = "allenai/c4"
INSTALLED = importlib.util.find_spec("datasets") is not None


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "c4"
    for files in FILES.values():
        for name, texts in files.items():
            write_json_gz(path / "en" / name, json_lines(texts))
    (path / "README.md").write_text(README)
    return path


@pytest.fixture
def fake(folder, monkeypatch):
    module = FakeDatasets({HUB: folder})
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


@pytest.fixture(params=["fake", "installed"] if INSTALLED else ["fake"])
def either(request, tmp_path, monkeypatch):
    """The fake, or the package with its cache in a folder of the test's own and no network."""
    if request.param == "fake":
        request.getfixturevalue("fake")
    else:
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def read(source, unit, skip=False):
    bad = BadDocuments(skip)
    return list(source.documents(unit, bad)), bad


def texts_of(source, split):
    return [text for unit in source.units(split) for text, _ in read(source, unit)[0]]


def test_splits_of_a_local_folder(either, folder):
    source = HfSource(str(folder))
    names = {s: [unit.name for unit in source.units(s)] for s in ("train", "validation", "test")}
    assert names == {
        "train": [f"en/c4-train.0000{i}-of-00003.json.gz" for i in range(3)],
        "validation": [f"en/c4-validation.0000{i}-of-00005.json.gz" for i in range(3)],
        "test": [f"en/c4-validation.0000{i}-of-00005.json.gz" for i in (3, 4)],
    }
    for split, files in names.items():
        expected = FILES["train" if split == "train" else "validation"]
        for unit, name in zip(source.units(split), files, strict=True):
            assert unit == Unit(split, name, 0)
            found, _ = read(source, unit)
            assert [text for text, _ in found] == expected[name.removeprefix("en/")]


def test_what_is_read_is_counted(either, folder):
    source = HfSource(str(folder))
    found, _ = read(source, source.units("train")[1])
    read_so_far = 0
    for text, position in found:
        read_so_far += len(text.encode())
        assert position == read_so_far


def test_a_pickled_source_reads_the_same_without_looking_up(fake):
    source = HfSource()
    pickled = pickle.dumps(source)
    fake.load_dataset_builder = None
    same = pickle.loads(pickled)
    assert same.facts() == source.facts()
    assert texts_of(same, "train") == texts_of(source, "train")
    assert texts_of(same, "test") == texts_of(source, "test")


def test_facts_have_no_paths(either, folder):
    expected = {"kind": "hf", "dataset": "c4", "config": "en", "revision": None}
    assert HfSource(str(folder)).facts() == expected


def test_facts_of_the_hub_have_the_commit(fake):
    facts = {"kind": "hf", "dataset": HUB, "config": "en"}
    assert HfSource().facts() == {**facts, "revision": COMMIT}
    assert HfSource(revision="0ld").facts() == {**facts, "revision": "0ld"}
    assert texts_of(HfSource(revision="0ld"), "train") == texts_of(HfSource(), "train")


def test_only_what_is_asked_for_is_fetched(fake):
    source = HfSource()
    unit = source.units("train")[1]
    assert fake.asked == []
    documents = source.documents(unit, BadDocuments())
    next(documents)
    assert fake.asked == [f"hf://datasets/{HUB}@{COMMIT}/{unit.name}"]


@pytest.mark.parametrize("line", [b'{"text": null}', b'{"other": "x"}', b'{"text": 3}'])
def test_documents_without_a_text(either, folder, line):
    name = "c4-train.00001-of-00003.json.gz"
    before, after = FILES["train"][name][:3], FILES["train"][name][3:]
    write_json_gz(folder / "en" / name, json_lines(before) + line + b"\n" + json_lines(after))
    source = HfSource(str(folder))
    unit = source.units("train")[1]
    found, bad = read(source, unit, skip=True)
    assert [text for text, _ in found] == before + after
    where = f'en/{name}, document 4: no "text" string'
    assert (bad.count, bad.first) == (1, where)
    with pytest.raises(DataError, match=where):
        read(source, unit)


@pytest.mark.parametrize("skip", [False, True])
def test_a_damaged_file(either, folder, skip):
    """Not left out in silence, even where bad documents are: they would be unknown in number."""
    name = "c4-train.00001-of-00003.json.gz"
    path = folder / "en" / name
    path.write_bytes(path.read_bytes()[:-20])
    source = HfSource(str(folder))
    with pytest.raises(DataError, match=rf"^cannot read en/{name}: .*; if that was the net") as e:
        read(source, source.units("train")[1], skip)
    assert "\n" not in str(e.value)


def test_a_network_that_fails(fake):
    source = HfSource()
    unit = source.units("train")[2]
    fake.failing = {f"hf://datasets/{HUB}@{COMMIT}/{unit.name}"}
    with pytest.raises(DataError) as caught:
        read(source, unit)
    assert str(caught.value) == (
        f"cannot read {unit.name}: the Hub does not answer; if that was the network, the same "
        "command keeps what is finished and goes on"
    )


def test_an_error_in_the_use_of_a_document_is_not_the_networks(fake):
    source = HfSource()

    def use():
        for _ in source.documents(source.units("train")[0], BadDocuments()):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()


def test_an_unknown_configuration(either, folder):
    with pytest.raises(DataError, match=r"cannot find the data set .*c4 \(de\): BuilderCo") as e:
        HfSource(str(folder), "de")
    assert "--source=jsonl" in str(e.value)
    assert "\n" not in str(e.value)


def test_the_cause_of_an_error_is_told(fake):
    with pytest.raises(DataError, match=r"\(de\): BuilderConfig 'de' not found\.: no network; "):
        HfSource(HUB, "de")


def test_too_few_files(either, folder):
    for path in sorted(folder.glob("en/c4-validation.*"))[1:]:
        path.unlink()
    source = HfSource(str(folder))
    with pytest.raises(DataError, match="has 1 files of the validation split: two are needed"):
        source.units("test")


def test_no_files_of_a_split(fake, folder):
    for path in folder.glob("en/c4-train.*"):
        path.unlink()
    with pytest.raises(DataError, match=r"^the data set allenai/c4 \(en\) has no files of the spl"):
        HfSource().units("train")


def test_the_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError) as caught:
        HfSource()
    assert str(caught.value).startswith(
        "--source=hf needs the package datasets, which is not installed: pip install datasets=="
    )
    assert "\n" not in str(caught.value)
