"""Which units are begun, and which count, whatever order they are finished in."""

from pathlib import Path

import pytest
from c4_corpus import fresh

from workloads_overrides import DataError
from workloads_overrides.c4.corpus.part import PartRecord, PartTask
from workloads_overrides.c4.corpus.schedule import SplitWork
from workloads_overrides.c4.sources.unit import Unit


def work_of(sizes, needed):
    units = [Unit("train", f"unit {i}", size) for i, size in enumerate(sizes)]
    tasks = [
        PartTask(i, unit, Path(f"train_{i}.bin"), 0, needed, "sha", False)
        for i, unit in enumerate(units)
    ]
    return SplitWork("train", tasks, needed)


def record(stored):
    return PartRecord({}, stored, stored, stored, 0, "", "", "")


def test_any_order_of_finishing_gives_the_same_units():
    rng = fresh()
    for _ in range(200):
        stored = [rng.randrange(20) for _ in range(8)]
        needed = rng.randint(1, max(1, sum(stored)))
        if sum(stored) < needed:
            continue
        work = work_of([1] * 8, needed)
        first = next(i for i in range(8) if sum(stored[: i + 1]) >= needed)
        for index in rng.sample(range(8), 8):
            before = work.used()
            work.set(work.tasks[index], record(stored[index]))
            if before is not None:
                assert work.used() == before
        used = work.used()
        assert used is not None
        assert [task.index for task, _, _ in used] == list(range(first + 1))
        taken = [tokens for _, _, tokens in used]
        assert sum(taken) == needed
        assert taken[:-1] == stored[:first]


def test_an_error_counts_when_its_unit_is_reached():
    work = work_of([1] * 4, 10)
    work.set(work.tasks[2], DataError("a bad line"))
    work.set(work.tasks[1], record(4))
    assert work.used() is None
    work.set(work.tasks[0], record(5))
    with pytest.raises(DataError, match="a bad line"):
        work.used()
    work.set(work.tasks[0], record(6))
    used = work.used()
    assert used is not None
    assert len(used) == 2


def test_too_few():
    work = work_of([1] * 3, 10_000)
    for task, stored in zip(work.tasks, (3000, 0, 6999), strict=True):
        assert work.used() is None
        work.set(task, record(stored))
    with pytest.raises(DataError) as caught:
        work.used()
    assert "too few tokens of train: 9,999 in 3 files, 10,000 are needed" in str(caught.value)


def begun(work, tokens_per_byte, limit=100):
    indices = []
    while len(indices) < limit and (task := work.next(tokens_per_byte)) is not None:
        indices.append(task.index)
    return indices


def test_no_more_units_are_begun_than_are_likely_to_be_needed():
    work = work_of([10] * 10, 100)
    assert begun(work, 2.5) == [0, 1, 2, 3]
    assert begun(work, 2.5) == []
    work.set(work.tasks[2], record(24))
    assert begun(work, 2.5) == [4]
    work.set(work.tasks[0], record(26))
    assert begun(work, 2.5) == []
    # They turn out to be half as large.
    work = work_of([10] * 10, 100)
    begun(work, 2.5)
    for task in work.tasks[:4]:
        work.set(task, record(12))
    assert begun(work, 1.2) == [4, 5, 6, 7, 8]


def test_sizes_that_are_not_known_are_estimated_by_what_is_finished():
    work = work_of([0] * 10, 100)
    assert begun(work, 0.0, limit=2) == [0, 1]
    work.set(work.tasks[1], record(40))
    assert begun(work, 0.0) == [2]
    assert begun(work_of([0] * 10, 100), 0.0) == list(range(10))


def test_a_stopped_unit_can_be_begun_again():
    work = work_of([10] * 3, 100)
    assert begun(work, 1.0) == [0, 1, 2]
    work.set(work.tasks[1], None)
    assert begun(work, 1.0) == [1]


def test_nothing_is_begun_behind_an_error():
    work = work_of([10] * 5, 100)
    work.set(work.tasks[1], DataError("x"))
    assert begun(work, 1.0) == [0]


def test_how_much_is_done():
    work = work_of([10] * 4, 100)
    assert work.done(0) == 0
    work.set(work.tasks[0], record(30))
    work.set(work.tasks[1], DataError("x"))
    assert (work.done(0), work.done(20), work.done(500)) == (30, 50, 100)
