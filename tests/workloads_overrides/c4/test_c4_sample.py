"""The sample in C4's format: every text once, splits apart, the same bytes, whole or not at all."""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from c4_documents import services_of, write_wheel
from c4_texts import documents as made_up

from workloads_overrides import DataError
from workloads_overrides.c4.sources.jsonl import JsonlSource
from workloads_overrides.c4.sources.unit import SPLITS, BadDocuments
from workloads_overrides.small.c4.documents import read_documents
from workloads_overrides.small.c4.sample import DOCUMENT_CHARACTERS, write_sample
from workloads_overrides.small.c4.splits import split_of
from workloads_overrides.small.wheel import Wheel, file_sha256

NAME = "botocore-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory):
    """Six services, two for each split, with paragraphs of random words."""
    services = {}
    for seed, split in enumerate(SPLITS):
        names = services_of(split)
        for i in range(2):
            words = [f"<p>{text}</p>" for text in made_up(80, 2 * seed + i) if len(text) > 200]
            services[next(names)] = words
    return write_wheel(tmp_path_factory.mktemp("index") / NAME, services)


@pytest.fixture(scope="module")
def paragraphs(wheel_file):
    return read_documents(wheel_file, lambda fraction: None)


@pytest.fixture
def write(wheel_file):
    def write(folder, num_train_files=3, repeat=1, progress=None):
        def fetch(wheel, into):
            return Path(shutil.copy(wheel_file, into / wheel.filename))

        wheel = Wheel("botocore==1.0", NAME, file_sha256(wheel_file))
        return write_sample(folder, num_train_files, repeat, progress, wheel, fetch)

    return write


def lines_of(path):
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def texts_of(folder, split):
    """As a preparation reads them."""
    source = JsonlSource(folder)
    bad = BadDocuments()
    return [t for unit in source.units(split) for t, _ in source.documents(unit, bad)]


@pytest.mark.parametrize("count", [1, 3, 12])
def test_files_are_named_as_those_of_c4(tmp_path, write, count):
    write(tmp_path / "sample", count)
    train = {f"c4-train.{i:05d}-of-{count:05d}.json.gz" for i in range(count)}
    held_out = {f"c4-validation.{i:05d}-of-00008.json.gz" for i in range(8)}
    assert {path.name for path in (tmp_path / "sample").iterdir()} == train | held_out
    for path in (tmp_path / "sample").iterdir():
        for line in lines_of(path):
            assert list(line) == ["text", "timestamp", "url"]
            assert line["url"].startswith("https://service-")
            assert line["timestamp"] == "2000-01-01T00:00:00Z"


def test_every_paragraph_is_there_once(tmp_path, write, paragraphs):
    written = write(tmp_path / "sample")
    texts = {split: texts_of(tmp_path / "sample", split) for split in SPLITS}
    for split, found in texts.items():
        lines = [line for text in found for line in text.split("\n")]
        expected = [text for text, service in paragraphs.items() if split_of(service) == split]
        assert sorted(lines) == sorted(expected)
    everything = [text for found in texts.values() for text in found]
    assert written.documents == len(everything)
    assert written.text_bytes == sum(len(text.encode()) for text in everything)


def test_documents_are_of_one_service_and_as_long_as_those_of_c4(tmp_path, write, paragraphs):
    write(tmp_path / "sample", 1)
    per_service = Counter()
    order = list(paragraphs)
    for line in lines_of(tmp_path / "sample" / "c4-train.00000-of-00001.json.gz"):
        texts = line["text"].split("\n")
        (service,) = {paragraphs[text] for text in texts}
        assert line["url"].startswith(f"https://{service}.example/train/")
        places = [order.index(text) for text in texts]
        assert places == list(range(places[0], places[0] + len(places))), "in their order"
        assert sum(map(len, texts[:-1])) < DOCUMENT_CHARACTERS
        per_service[service] += sum(map(len, texts)) < DOCUMENT_CHARACTERS
    assert max(per_service.values()) <= 1, "only a service's last document is shorter"


def test_repeated_text_makes_other_documents_of_the_same_paragraphs(tmp_path, write):
    once, thrice = write(tmp_path / "once"), write(tmp_path / "thrice", repeat=3)
    for split in SPLITS:
        first, all_of_it = texts_of(tmp_path / "once", split), texts_of(tmp_path / "thrice", split)
        assert set(first) <= set(all_of_it)
        assert len(set(all_of_it)) > 0.9 * len(all_of_it)
        counts = Counter(line for text in all_of_it for line in text.split("\n"))
        assert counts == {line: 3 for text in first for line in text.split("\n")}
    assert 2.8 * once.text_bytes < thrice.text_bytes < 3.2 * once.text_bytes


def test_files_have_about_the_same_size(tmp_path, write):
    write(tmp_path / "sample", 3, repeat=2)
    counts = [len(lines_of(path)) for path in (tmp_path / "sample").glob("c4-train.*")]
    assert max(counts) - min(counts) <= 1
    assert min(counts) > 3


def test_the_same_bytes_every_time(tmp_path, write):
    for folder in ("a", "b"):
        write(tmp_path / folder, repeat=2)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 11
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        assert content[4:8] == bytes(4), "gzip's time"


def test_progress_is_told(tmp_path, write):
    told = []
    write(tmp_path / "sample", repeat=2, progress=lambda stage, done: told.append((stage, done)))
    fractions = [done for _, done in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert told[0][0] == "downloading botocore==1.0"


def test_a_folder_that_is_there_is_left_alone(tmp_path, write):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "mine").write_text("x")
    with pytest.raises(DataError, match=r"sample exists already: delete it or name another fold"):
        write(tmp_path / "sample")
    assert [path.name for path in (tmp_path / "sample").iterdir()] == ["mine"]


def test_an_interrupted_call_leaves_nothing(tmp_path, write):
    def interrupt(stage, done):
        if stage == "writing" and done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "sample", repeat=2, progress=interrupt)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    write(tmp_path / "sample")


def test_a_place_that_cannot_be_written(tmp_path, write):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"^cannot prepare .*/file/sample: ") as caught:
        write(tmp_path / "file" / "sample")
    assert "\n" not in str(caught.value)
