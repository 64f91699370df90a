"""What a process reads of global batches, and ahead of time: always the rows that it had before."""

import functools
import threading
from itertools import islice

import numpy as np
import pytest
from workload_fakes import NumberRows, NumberWorkload

from workloads_overrides.base.rows import eval_batches, train_batches

DATA_RNG = np.array([3, 14], np.uint32)
SPLITS = {"train": 50, "validation": 10, "test": 7}


class OwnRows(NumberRows):
    """Without augmentation, and saying so."""

    row_by_row = True

    def batch(self, ids, rng):
        del rng
        return super().batch(ids, None)


class AugmentedRows(NumberRows):
    row_by_row = False


class RankWorkload(NumberWorkload):
    """One of several processes, as PyTorch's under DDP."""

    shards, rank = 4, 0

    def _own_rows(self, array):
        size = len(array) // self.shards
        return array[self.rank * size : (self.rank + 1) * size]

    def _place(self, batch):
        return self._place_own({name: self._own_rows(array) for name, array in batch.items()})

    def _place_own(self, batch):
        self.placed_by.append(threading.current_thread())
        return batch


def make(kind, rank=0, shards=4, prefetched=0):
    workload = RankWorkload(**{name: kind(count, (2, 6)) for name, count in SPLITS.items()})
    workload.rank, workload.shards, workload.prefetched_batches = rank, shards, prefetched
    workload.placed_by = []
    return workload


def queue(workload, split, size=8):
    return workload._build_input_queue(DATA_RNG, split, "", size)


def equal(batch, other):
    assert batch.keys() == other.keys()
    for name in batch:
        np.testing.assert_array_equal(batch[name], other[name])
        assert batch[name].dtype == other[name].dtype


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", [NumberRows, AugmentedRows, OwnRows])
@pytest.mark.parametrize("prefetched", [0, 2])
def test_the_ranks_parts_are_the_global_batch(kind, split, prefetched):
    whole = list(islice(queue(make(kind, shards=1), split), 15))
    parts = [
        list(islice(queue(make(kind, rank, prefetched=prefetched), split), 15)) for rank in range(4)
    ]
    for number, batch in enumerate(whole):
        mine = [batches[number] for batches in parts]
        assert {len(part["inputs"]) for part in mine} == {2}
        equal({name: np.concatenate([part[name] for part in mine]) for name in batch}, batch)


@pytest.mark.parametrize(("kind", "count"), [(NumberRows, 8), (AugmentedRows, 8), (OwnRows, 2)])
@pytest.mark.parametrize("split", SPLITS)
def test_only_rows_that_stand_alone_are_left_unread(kind, count, split):
    """Random numbers of augmentation go to the rows of a global batch in turn."""
    workload = make(kind, rank=3)
    next(queue(workload, split))
    assert [len(ids) for ids in workload.rows[split].asked] == [count]


@pytest.mark.parametrize("count", [1, 6, 7])
def test_padding_is_where_it_was(count):
    """Of whole batches; a rank may have nothing but padding."""
    rows = OwnRows(10)
    for batch, *parts in zip(
        eval_batches(rows, count, 8),
        *(eval_batches(rows, count, 8, make(OwnRows, rank)._own_rows) for rank in range(4)),
        strict=True,
    ):
        for name in batch:
            together = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(together, batch[name])
    assert batch["weights"].sum() == count


@pytest.mark.parametrize("start", [0, 1, 13])
def test_the_training_stream_can_be_entered_anywhere(start):
    for kind in (NumberRows, OwnRows):
        workload = make(kind, rank=1)
        whole = list(islice(workload.train_queue(DATA_RNG, "", 8), start + 3))
        entered = list(islice(workload.train_queue(DATA_RNG, "", 8, start), 3))
        for batch, other in zip(whole[start:], entered, strict=True):
            equal(batch, other)
        equal(whole[start], next(islice(queue(workload, "train"), start, None)))


def test_a_part_of_the_training_stream_starts_anywhere_too():
    rows = OwnRows(50)
    part = make(OwnRows, rank=2)._own_rows
    whole = list(islice(train_batches(rows, 8, seed=5), 6))
    for batch, other in zip(whole[4:], train_batches(rows, 8, 5, 4, part), strict=False):
        equal({name: array[4:6] for name, array in batch.items()}, other)


@pytest.mark.parametrize("prefetched", [0, 2])
def test_evaluations_read_alike(prefetched):
    """The metrics are of all rows: here a rank has them all."""
    workload = make(OwnRows, shards=1, prefetched=prefetched)
    metrics = workload._eval_model_on_split("validation", 10, 4, 0.5, None, None, "")
    ids = [i for i in range(10) if i not in (2, 6)]
    expected = {"loss": 5 * np.mean(ids), "accuracy": np.mean([i % 3 == 1 for i in ids])}
    assert metrics == pytest.approx(expected, rel=1e-12)
    assert len(workload.rows["validation"].asked) == 3


def test_batches_are_placed_by_the_thread_that_asks_for_them():
    """Neither framework is used in two threads; files are."""
    read_by = []

    class Watched(OwnRows):
        def batch(self, ids, rng):
            read_by.append(threading.current_thread())
            return super().batch(ids, rng)

    workload = make(Watched, prefetched=2)
    batches = queue(workload, "train")
    for _ in range(3):
        next(batches)
    del batches
    workload._eval_model_on_split("test", 7, 4, 0.5, None, None, "")
    assert set(workload.placed_by) == {threading.current_thread()}
    assert len(workload.placed_by) == 3 + 2
    assert threading.current_thread() not in read_by
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_without_prefetching_there_is_no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", functools.partial(pytest.fail, "a thread"))
    workload = make(OwnRows)
    for split in SPLITS:
        next(queue(workload, split))


def test_errors_of_reading_reach_the_loop():
    class Unreadable(OwnRows):
        def batch(self, ids, rng):
            raise OSError("gone")

    for prefetched in (0, 2):
        workload = make(Unreadable, prefetched=prefetched)
        with pytest.raises(OSError, match="gone"):
            next(queue(workload, "train"))
        with pytest.raises(OSError, match="gone"):
            workload._eval_model_on_split("test", 7, 4, 0.5, None, None, "")
