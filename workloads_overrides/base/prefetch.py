"""Items that a thread makes ahead of their consumer."""

import threading
import weakref
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any, TypeVar

T = TypeVar("T")

_JOIN_SEC = 10.0  # an item that takes longer is left to the daemon thread that makes it


class Prefetched(Iterator[T]):
    """The items of an iterator in its order, made by a thread of its own up to `depth` ahead.

    An exception of the iterator is raised here in its place, with the traceback of the thread, and
    ends the items. The thread ends with them, with this object, or with the interpreter, whichever
    comes first; until then it uses the iterator, which nobody else may.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        """Starts at once. Raises ValueError unless `depth` is positive."""
        if depth < 1:
            raise ValueError(f"depth={depth} must be positive")
        self._queue: Queue[Any] = Queue(depth)
        stop = threading.Event()
        # The thread must not know this object, or it would never be dropped.
        arguments = (items, self._queue, stop)
        thread = threading.Thread(target=_make, args=arguments, name="prefetch", daemon=True)
        self._end = weakref.finalize(self, _stop, self._queue, stop, thread)
        thread.start()

    def __next__(self) -> T:
        if not self._end.alive:
            raise StopIteration
        item, error = self._queue.get()
        if error is None:
            return item
        self._end()
        try:
            raise error
        finally:
            del error  # its traceback knows this frame, and in a circle both would stay


def _make(items: Iterator[Any], queue: Queue[Any], stop: threading.Event) -> None:
    """Puts (item, None) for every item, then (None, what ended them)."""
    try:
        for item in items:
            if stop.is_set():
                return
            queue.put((item, None))
        end: BaseException = StopIteration()
    except BaseException as error:
        end = error
    if not stop.is_set():
        queue.put((None, end))
    del end  # as above


def _stop(queue: Queue[Any], stop: threading.Event, thread: threading.Thread) -> None:
    """Ends the thread, which may be waiting for room in the queue: once it finds `stop` set it puts
    no further item, and one that it puts before that finds room."""
    stop.set()
    try:
        while True:
            queue.get_nowait()
    except Empty:
        pass
    if thread is not threading.current_thread():  # in which garbage may be collected as well
        thread.join(_JOIN_SEC)
