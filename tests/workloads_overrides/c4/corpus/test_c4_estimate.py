"""Estimates of what a preparation takes, from its first documents, and how they are worded."""

from pathlib import Path

import pytest
from c4_corpus import Shown, fresh, stream, write_files

from workloads_overrides import DataError
from workloads_overrides.c4.corpus import estimate, progress
from workloads_overrides.c4.corpus.estimate import Rates
from workloads_overrides.c4.corpus.part import PartRecord, PartTask
from workloads_overrides.c4.corpus.progress import Meter, amount, duration
from workloads_overrides.c4.corpus.schedule import SplitWork
from workloads_overrides.c4.sources.jsonl import JsonlSource
from workloads_overrides.c4.sources.unit import Unit
from workloads_overrides.c4.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()


def works_of(sizes, needed):
    works = {}
    for split, amounts in sizes.items():
        tasks = [
            PartTask(i, Unit(split, str(i), size), Path("x"), 0, needed, "sha", False)
            for i, size in enumerate(amounts)
        ]
        works[split] = SplitWork(split, tasks, needed)
    return works


def record(stored):
    return PartRecord({}, stored, stored, stored, 0, "", "", "")


def test_rates_of_a_whole_file_are_exact(tmp_path):
    files = write_files(tmp_path, fresh())
    source = JsonlSource(tmp_path)
    unit = source.units("train")[0]
    rates = estimate.measure(source, unit, BYTES, 0)
    assert rates is not None
    tokens = len(stream(files["train"][:1]))
    assert rates.text_per_token == pytest.approx((tokens - len(files["train"][0])) / tokens)
    assert rates.input_per_token == pytest.approx(unit.size / tokens)
    assert rates.tokens_per_input == pytest.approx(tokens / unit.size)
    assert rates.seconds_per_token > 0


def test_rates_of_rows(tmp_path):
    files = write_files(tmp_path, fresh())
    source = JsonlSource(tmp_path)
    unit = source.units("train")[0]
    rates = estimate.measure(source, unit, BYTES, 257)
    assert rates is not None
    assert rates.input_per_token == pytest.approx(unit.size / (257 * len(files["train"][0])))


def test_only_the_first_documents_are_read(tmp_path, monkeypatch):
    write_files(tmp_path, fresh(), documents=300)
    monkeypatch.setattr(estimate, "SAMPLE_CHARACTERS", 1000)
    source = JsonlSource(tmp_path)
    seen = []
    documents = JsonlSource.documents

    def counting(self, unit, bad):
        for item in documents(self, unit, bad):
            seen.append(item)
            yield item

    monkeypatch.setattr(JsonlSource, "documents", counting)
    assert estimate.measure(source, source.units("train")[0], BYTES, 0) is not None
    assert sum(len(text) for text, _ in seen[:-1]) < 1000 <= sum(len(text) for text, _ in seen)


def test_no_rates_of_files_that_cannot_be_read(tmp_path):
    assert estimate.measure(JsonlSource(tmp_path), Unit("train", "no.json", 1), BYTES, 0) is None
    (tmp_path / "c4-train.0.json").write_text("{\n")
    unit = Unit("train", "c4-train.0.json", 2)
    assert estimate.measure(JsonlSource(tmp_path), unit, BYTES, 0) is None


def test_description():
    works = works_of({"train": [100, 100], "test": [50]}, 1_000_000)
    rates = Rates(text_per_token=4.0, input_per_token=1.5, seconds_per_token=1e-4)
    assert estimate.describe(works, rates, 2) == (
        "2,000,000 tokens to make of about 3.0 MB of input (8.0 MB of text): about 100 s with "
        "2 processes; the result has 4.0 MB"
    ).replace("100 s", "2 min")
    works["train"].set(works["train"].tasks[0], record(500_000))
    unknown = Rates(text_per_token=4.0, input_per_token=0.0, seconds_per_token=1e-5)
    assert estimate.describe(works, unknown, 1) == (
        "1,500,000 tokens to make (6.0 MB of text): about 15 s with 1 process; "
        "the result has 4.0 MB"
    )


def test_doubts():
    rates = Rates(4.0, 2.0, 1e-6)
    works = works_of({"train": [100, 99], "test": [150, 50], "validation": [0, 5]}, 100)
    (doubt,) = estimate.doubts(works, rates)
    assert doubt == "the files of train seem to have about 100 tokens, but 100 are needed"
    assert estimate.doubts(works, Rates(4.0, 0.0, 1e-6)) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_space_on_the_disk(tmp_path, monkeypatch, jobs):
    works = works_of({"train": [4_000_000, 1], "test": [10]}, 50_000_000)
    rates = Rates(4.0, 2.0, 1e-6)
    # Result, and the largest unit, of 2,000,000 tokens: for each split and each further process.
    need = 2 * (2 * 50_000_000 + 2_000_000 * (4 + jobs - 1)) + (64 << 20)

    def free(number):
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("U", (), {"free": number})())

    free(need)
    estimate.check_disk(tmp_path, works, rates, jobs)
    free(need - 1)
    with pytest.raises(DataError, match=f"{tmp_path} has .* free, but about .* are needed"):
        estimate.check_disk(tmp_path, works, rates, jobs)
    works["train"].set(works["train"].tasks[0], record(1000))
    estimate.check_disk(tmp_path, works, rates, jobs)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (12_345, "12 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (2.6e9, "2.6 GB"),
        (305e9, "305 GB"),
        (7e12, "7.0 TB"),
        (7e15, "7000 TB"),
    ],
)
def test_amounts_in_words(number, words):
    assert amount(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (99, "99 s"), (150, "2 min"), (5990, "100 min"), (36e3, "10.0 h")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_what_is_left_is_reckoned_from_this_call(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = Shown()
    meter = Meter(shown)
    meter.show(0.5, "a", 0)
    now += 0.1
    meter.show(0.51, "b", 100)  # too soon
    now += 9.9
    meter.show(0.6, "c", 50_000_000)
    now += 0.1
    meter.show(1.0, "d", 60_000_000)  # but the end is shown
    assert shown.updates == [
        ("c4", 0.5, "a"),
        ("c4", 0.6, "c, 5.0 MB of text per second, 40 s left"),
        ("c4", 1.0, "d, 5.9 MB of text per second, 0 s left"),
    ]
