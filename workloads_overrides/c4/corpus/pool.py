"""Parts made side by side: processes that end when this one does, however it ends.

Processes are spawned, not forked: a fork of a process with threads may hang, and would share the
lock of the work folder. What they tell goes through shared memory without locks, which a killed
process could leave taken.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import DataError
from ..sources.unit import Source
from ..tokenizers import Tokenizer
from .part import PartRecord, PartTask, write_part

PERIOD_SEC = 0.5  # between two looks at what the processes have done
_PATIENCE_SEC = 5.0  # with processes that have been asked to stop; a block takes less than one
_FIELDS = 4  # of a slot: bytes of input, bytes of text, tokens, whether to stop
_STOP = 3  # the last one's place


class Stopped(Exception):
    """The part is not needed any more."""


@dataclass(frozen=True)
class Running:
    """A part that is being made: bytes of input, bytes of text and tokens so far."""

    task: PartTask
    position: int
    text_bytes: int
    tokens: int


class Board:
    """What is told about the parts being made, a slot for each that runs at a time."""

    def __init__(self, slots: int, shared: bool) -> None:
        size = slots * _FIELDS
        self._cells: Any = (
            multiprocessing.get_context("spawn").RawArray("Q", size) if shared else [0] * size
        )

    def clear(self, slot: int) -> None:
        start = slot * _FIELDS
        self._cells[start : start + _FIELDS] = [0] * _FIELDS

    def stop(self, slot: int) -> None:
        """Ends the slot's part with its next block."""
        self._cells[slot * _FIELDS + _STOP] = 1

    def tell(self, slot: int, position: int, text_bytes: int, tokens: int) -> None:
        """Raises Stopped if that has been asked for."""
        start = slot * _FIELDS
        if self._cells[start + _STOP]:
            raise Stopped
        self._cells[start : start + _STOP] = [position, text_bytes, tokens]

    def read(self, slot: int) -> list[int]:
        """Bytes of input, bytes of text and tokens so far."""
        start = slot * _FIELDS
        return self._cells[start : start + _STOP]


Look = Callable[[Sequence[Running]], None]


class Pool:
    """Makes parts in `jobs` processes; with one job, in this process.

    A context: when it ends, nothing of it runs any more. `look` is called often, with the parts
    that are being made.
    """

    def __init__(self, source: Source, tokenizer: Tokenizer, jobs: int, look: Look) -> None:
        self._board = Board(jobs, shared=jobs > 1)
        self._look = look
        self._tasks: dict[int, PartTask] = {}  # by slot
        self._slots: dict[Future[PartRecord], int] = {}
        self._free = list(range(jobs))
        self._others = set(multiprocessing.active_children())
        self._executor: Executor
        if jobs == 1:
            self._executor = _Here()
            _set_up(source, tokenizer, self._board, self._show)
        else:
            self._executor = ProcessPoolExecutor(
                jobs,
                multiprocessing.get_context("spawn"),
                _set_up_process,
                (source, tokenizer, self._board),
            )

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self._tasks:
            self._board.stop(slot)
        if wait(self._slots, _PATIENCE_SEC).not_done:
            # Some source waits for a network or a disk.
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._executor.shutdown(wait=True)

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, task: PartTask) -> None:
        """Begins with a part; there must be room."""
        slot = self._free.pop()
        self._board.clear(slot)
        self._tasks[slot] = task
        try:
            with _interrupts_wait(self._executor):
                future = self._executor.submit(_make, slot, task)
        except BrokenProcessPool as error:
            raise _broken() from error
        self._slots[future] = slot

    def stop(self, split: str) -> None:
        """Ends the parts of a split that are being made: it needs no more."""
        for slot, task in self._tasks.items():
            if task.unit.split == split:
                self._board.stop(slot)

    def finished(self) -> Iterator[tuple[PartTask, PartRecord | DataError | None]]:
        """Waits a moment, or for a part; yields what has become of those that ended.

        A DataError is the source's; None stands for a part that was stopped. Raises OSError of a
        file that cannot be written, DataError if a process was killed.
        """
        self._show()
        for future in wait(self._slots, PERIOD_SEC, FIRST_COMPLETED).done:
            slot = self._slots.pop(future)
            task = self._tasks.pop(slot)
            self._free.append(slot)
            try:
                yield task, future.result()
            except Stopped:
                yield task, None
            except DataError as error:
                yield task, error
            except BrokenProcessPool as error:
                raise _broken() from error

    def _show(self) -> None:
        self._look([Running(task, *self._board.read(slot)) for slot, task in self._tasks.items()])


def _broken() -> DataError:
    return DataError(
        "a process of the preparation was killed, perhaps for want of memory: the same command "
        "keeps what is finished and goes on, with fewer processes if --jobs is smaller"
    )


_about: Any = None  # in a process that makes parts: source, tokenizer, board, what to call


def _set_up(source: Source, tokenizer: Tokenizer, board: Board, look: Callable[[], None]) -> None:
    global _about
    _about = source, tokenizer, board, look


def _set_up_process(source: Source, tokenizer: Tokenizer, board: Board) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _set_up(source, tokenizer, board, lambda: None)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _make(slot: int, task: PartTask) -> PartRecord:
    source, tokenizer, board, look = _about

    def tell(position: int, text_bytes: int, tokens: int) -> None:
        board.tell(slot, position, text_bytes, tokens)
        look()

    return write_part(source, tokenizer, task, tell)


class _Here(Executor):
    """Runs what is submitted at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _interrupts_wait(executor: Executor) -> Iterator[None]:
    """Keeps Ctrl-C for later, and for good from the processes that are started meanwhile: a
    terminal sends it to them too, but to end them is this process's business."""
    if isinstance(executor, _Here):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
