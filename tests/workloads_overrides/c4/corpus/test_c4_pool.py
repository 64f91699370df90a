"""Processes that make parts: what comes back from them, and that none stays."""

import multiprocessing
import os
import signal
import time

import pytest
from c4_corpus import document, fresh

from workloads_overrides import DataError
from workloads_overrides.c4.corpus.part import PartRecord, PartTask
from workloads_overrides.c4.corpus.pool import Board, Pool, Stopped
from workloads_overrides.c4.sources.unit import Unit
from workloads_overrides.c4.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()


class Behaving:
    """A source whose units do what their names say."""

    def __init__(self, texts):
        self.texts = texts

    def facts(self):
        return {"kind": "behaving"}

    def units(self, split):
        return []

    def documents(self, unit, bad):
        if unit.name == "error":
            raise DataError("cannot read it")
        if unit.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.name == "silent":
            time.sleep(600)
        for number, text in enumerate(self.texts, 1):
            yield text, number
        while unit.name == "endless":
            yield "x" * (1 << 20), 1


def a_task(folder, name, index=0):
    unit = Unit("train", name, 10)
    path = folder / f"train_{index:05d}.bin"
    return PartTask(index, unit, path, 0, 10**15, BYTES.sha256, False)


@pytest.fixture
def source():
    rng = fresh()
    return Behaving([document(rng) for _ in range(30)])


def outcomes(pool, count):
    found = {}
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline
        for task, outcome in pool.finished():
            found[task.index] = outcome
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_records_and_errors_come_back(tmp_path, source, jobs):
    looks = []
    with Pool(source, BYTES, jobs, looks.append) as pool:
        found = {}
        for index, name in enumerate(["fine", "error", "fine"]):
            if not pool.has_room:
                found |= outcomes(pool, 1)
            pool.start(a_task(tmp_path, name, index))
        found |= outcomes(pool, 3 - len(found))
    assert isinstance(found[0], PartRecord)
    assert isinstance(found[2], PartRecord)
    assert found[0].sha256 == found[2].sha256
    assert str(found[1]) == "cannot read it"
    assert found[0].text_bytes == sum(len(text.encode()) for text in source.texts)
    assert any(looks)
    assert not multiprocessing.active_children()


def test_an_unneeded_part_is_stopped_and_looked_at_until_then(tmp_path, source):
    looks = []
    with Pool(source, BYTES, 2, looks.append) as pool:
        pool.start(a_task(tmp_path, "endless"))
        while not looks or not looks[-1] or not looks[-1][0].tokens:
            assert outcomes(pool, 0) == {}
            list(pool.finished())
        pool.stop("validation")
        assert list(pool.finished()) == []
        pool.stop("train")
        assert outcomes(pool, 1) == {0: None}
        assert pool.has_room
    running = looks[-1]
    assert running == [] or running[0].task.unit.name == "endless"
    assert list(tmp_path.iterdir()) == []


def test_leaving_ends_what_is_being_made(tmp_path, source, monkeypatch):
    monkeypatch.setattr("workloads_overrides.c4.corpus.pool._PATIENCE_SEC", 40)
    start = time.monotonic()
    with Pool(source, BYTES, 2, lambda running: None) as pool:
        pool.start(a_task(tmp_path, "endless", 0))
        pool.start(a_task(tmp_path, "endless", 1))
    assert time.monotonic() - start < 30  # they were asked, not killed
    assert not multiprocessing.active_children()
    assert not list(tmp_path.glob("*.json"))


def test_leaving_ends_processes_that_do_not_answer(tmp_path, source, monkeypatch):
    monkeypatch.setattr("workloads_overrides.c4.corpus.pool._PATIENCE_SEC", 0.5)
    with Pool(source, BYTES, 2, lambda running: None) as pool:
        pool.start(a_task(tmp_path, "silent"))
        while not list(tmp_path.iterdir()):
            list(pool.finished())
    assert not multiprocessing.active_children()


def test_a_killed_process_is_told(tmp_path, source):
    with Pool(source, BYTES, 2, lambda running: None) as pool:
        pool.start(a_task(tmp_path, "killed"))
        with pytest.raises(DataError, match="a process of the preparation was killed"):
            outcomes(pool, 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_cannot_be_written(tmp_path, source, jobs):
    (tmp_path / "train_00000.bin.tmp").symlink_to("/dev/full")
    with Pool(source, BYTES, jobs, lambda running: None) as pool:
        pool.start(a_task(tmp_path, "fine"))
        with pytest.raises(OSError, match="No space left on device") as caught:
            outcomes(pool, 1)
    assert caught.value.filename == str(tmp_path / "train_00000.bin.tmp")


@pytest.mark.parametrize("shared", [False, True])
def test_slots_of_the_board(shared):
    board = Board(3, shared)
    board.tell(1, 10, 20, 2**40)
    assert [list(board.read(slot)) for slot in range(3)] == [[0] * 3, [10, 20, 2**40], [0] * 3]
    board.stop(1)
    board.tell(0, 1, 1, 1)
    with pytest.raises(Stopped):
        board.tell(1, 11, 21, 31)
    board.clear(1)
    board.tell(1, 1, 2, 3)
    assert list(board.read(1)) == [1, 2, 3]
