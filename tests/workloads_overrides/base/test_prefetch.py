"""Reading ahead: the same items, errors in their place, and no thread that outlives its use."""

import contextlib
import gc
import itertools
import subprocess
import sys
import threading
import time
import traceback
import weakref
from pathlib import Path

import pytest

from workloads_overrides.base.prefetch import Prefetched

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 10.0  # seconds; reached by failures only


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Counted:
    """0, 1, 2, ...: how many have been made, and by which thread."""

    def __init__(self, stop=None):
        self.made, self.by = 0, set()
        self.stop = stop

    def __iter__(self):
        return self

    def __next__(self):
        if self.made == self.stop:
            raise StopIteration
        self.by.add(threading.current_thread())
        self.made += 1
        return self.made - 1


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    assert not threads()
    yield
    if threads():
        gc.collect()
    assert not threads()


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_all_items_in_their_order(count, depth):
    items = Prefetched(iter(range(count)), depth)
    assert list(items) == list(range(count))
    assert list(items) == [], "and no more after the last"
    assert not threads()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_as_many_are_made_ahead_as_asked_for(depth):
    source = Counted()
    items = Prefetched(source, depth)
    for taken in range(3):
        # `depth` wait in the queue, and the thread holds one for which there is no room yet.
        wait_until(lambda taken=taken: source.made == taken + depth + 1)
        time.sleep(0.01)
        assert source.made == taken + depth + 1
        assert next(items) == taken
    assert source.by == set(threads())
    del items


def test_none_is_an_item_like_others():
    assert list(Prefetched(iter([None, 1, None]), 2)) == [None, 1, None]


class Broken(Exception):
    pass


def failing(count):
    yield from range(count)
    raise Broken(f"after {count}")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_error_comes_in_its_place_with_its_traceback(count):
    items = Prefetched(failing(count), 2)
    assert [next(items) for _ in range(count)] == list(range(count))
    with pytest.raises(Broken, match=f"after {count}") as caught:
        next(items)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "failing"
    assert list(items) == [], "and nothing comes after it"


def test_errors_that_are_no_exceptions_come_too():
    def interrupted():
        yield 1
        raise KeyboardInterrupt

    items = Prefetched(interrupted(), 2)
    assert next(items) == 1
    with pytest.raises(KeyboardInterrupt):
        next(items)


def test_an_error_does_not_keep_the_items_alive():
    items = Prefetched(failing(0), 2)
    watched = weakref.ref(items)
    gc.disable()
    try:
        with contextlib.suppress(Broken):
            next(items)
        del items
        assert watched() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("taken", [0, 1, 3])
@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: map(str, items)])
def test_the_thread_ends_when_the_items_are_dropped(taken, wrap):
    source = Counted()
    items = wrap(Prefetched(source, 2))
    for _ in range(taken):
        next(items)
    assert threads()
    del items
    assert not threads(), "at once, without a search for garbage"
    made = source.made
    time.sleep(0.01)
    assert source.made == made


def test_dropping_waits_for_the_item_in_the_making():
    begun, finish = threading.Event(), threading.Event()

    def slow():
        begun.set()
        finish.wait(PATIENCE)
        yield 0

    items = Prefetched(slow(), 1)
    begun.wait(PATIENCE)
    threading.Timer(0.05, finish.set).start()
    del items
    assert finish.is_set()
    assert not threads()


def test_garbage_may_be_collected_in_the_thread_itself():
    """A cycle that holds the items may be found there, and a thread cannot wait for itself."""
    held = []

    def collecting():
        for number in itertools.count():
            if number == 1:
                ready.wait(PATIENCE)
                gc.collect()
                collected.set()
            yield number

    ready, collected = threading.Event(), threading.Event()
    gc.disable()
    try:
        held.append(Prefetched(collecting(), 1))
        held.append(held)  # the cycle
        assert next(held[0]) == 0
        del held
        ready.set()
        assert collected.wait(PATIENCE)
    finally:
        gc.enable()
    wait_until(lambda: not threads())


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_that_is_none(depth):
    with pytest.raises(ValueError, match=f"depth={depth} must be positive"):
        Prefetched(iter(()), depth)


def test_many_at_a_time():
    streams = [Prefetched(Counted(stop=200), 2) for _ in range(8)]
    assert [sum(rows) for rows in zip(*streams, strict=True)] == [8 * k for k in range(200)]


EXITS = """
import sys
sys.path.insert(0, ".")
import numpy as np
from workloads_overrides.base.prefetch import Prefetched

def endless():
    while True:
        yield np.sort(np.random.default_rng(0).random(1000))

items = Prefetched(endless(), 2)  # a global, which nobody drops
next(items)
{end}
"""


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [("", 0, ""), ("sys.exit(3)", 3, ""), ("raise RuntimeError('why')", 1, "RuntimeError: why")],
)
def test_the_interpreter_ends_while_items_are_made(end, status, told):
    result = subprocess.run(
        [sys.executable, "-c", EXITS.format(end=end)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == status
    assert result.stderr.strip().endswith(told)
    assert bool(told) == bool(result.stderr.strip())
