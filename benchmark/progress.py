"""What runs show while they go on: bars in a terminal, plain lines elsewhere, JSON for a parent."""

import json
import sys
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from benchmark.errors import is_first_rank

_LINE_PERIOD_SEC = 10.0


class Reporter(Protocol):
    """Shows notes and, under a label each, things that go on side by side."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def note(self, text: str) -> None:
        """A line that stays."""

    def update(self, label: str, done: float, text: str) -> None:
        """How far `label` is (0 to 1), and a few words about it."""

    def end(self, label: str, text: str) -> None:
        """`label` goes on no longer."""


class _Quiet:
    """Shows nothing but errors, which are raised, not reported."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def update(self, label: str, done: float, text: str) -> None:
        pass

    def end(self, label: str, text: str) -> None:
        pass


class _Lines(_Quiet):
    """Plain lines, for files and pipes: at most one in ten seconds for each label."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[str, float] = {}

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def update(self, label: str, done: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last.get(label, -_LINE_PERIOD_SEC) >= _LINE_PERIOD_SEC:
            self._last[label] = now
            self.note(f"{label}: {text}")

    def end(self, label: str, text: str) -> None:
        self.note(f"{label}: {text}")


class _Bars(_Quiet):
    """One live bar per label in a terminal; a line stays when it ends."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=8),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            refresh_per_second=4,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, label: str, done: float, text: str) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=1.0, text="")
        self._progress.update(self._tasks[label], completed=done, text=text)

    def end(self, label: str, text: str) -> None:
        if label in self._tasks:
            self._progress.remove_task(self._tasks.pop(label))
        self.note(f"{label}: {text}")


class _JsonLines(_Quiet):
    """One JSON object per line on standard output; `relay` reads them."""

    def _tell(self, method: str, *arguments: str | float) -> None:
        print(json.dumps([method, *arguments]), flush=True)

    def note(self, text: str) -> None:
        self._tell("note", text)

    def update(self, label: str, done: float, text: str) -> None:
        self._tell("update", label, done, text)

    def end(self, label: str, text: str) -> None:
        self._tell("end", label, text)


def reporter(kind: str = "bar", stream: TextIO | None = None) -> Reporter:
    """The reporter of `--progress`: `bar` (plain lines where the output is no terminal), `json`
    or `none`, which the processes that torchrun starts beside the first one always get."""
    if kind == "none" or not is_first_rank():
        return _Quiet()
    if kind == "json":
        return _JsonLines()
    output: TextIO = sys.stdout if stream is None else stream
    console = Console(file=output)
    return _Bars(console) if console.is_terminal else _Lines(output)


def relay(line: str, label: str, to: Reporter) -> None:
    """Shows one line of another process's `json` reporter under `label`. Other lines, such as what
    a submission prints, are left out."""
    try:
        message = json.loads(line)
    except json.JSONDecodeError:
        return
    match message:
        case ["note", str(text)]:
            to.note(f"{label}: {text}")
        case ["update", _, float(done) | int(done), str(text)]:
            to.update(label, done, text)
        case ["end", _, str(text)]:
            to.end(label, text)
