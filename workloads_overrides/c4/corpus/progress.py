"""What a preparation shows: how far it is, how fast, and how long it will take."""

import time
from typing import Protocol

LABEL = "c4"
PERIOD_SEC = 0.5


class Reporter(Protocol):
    """What is shown to the user; `benchmark.progress` has several."""

    def note(self, text: str) -> None:
        """A line that stays."""

    def update(self, label: str, done: float, text: str) -> None:
        """How far `label` is (0 to 1), and a few words about it."""

    def end(self, label: str, text: str) -> None:
        """`label` goes on no longer."""


class Meter:
    """The time that is left, from what has been done since `start`."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._first: tuple[float, float] | None = None
        self._last = 0.0

    def show(self, done: float, what: str, text_bytes: int) -> None:
        """`done` of 1; `text_bytes` made by this process's call so far. At most twice a second."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        if now - self._last < PERIOD_SEC and done < 1:
            return
        self._last = now
        start, at_start = self._first
        elapsed = now - start
        words = [what]
        if elapsed > 1 and text_bytes:
            words.append(f"{amount(text_bytes / elapsed)} of text per second")
        if elapsed > 1 and done > at_start:
            words.append(f"{duration(elapsed * (1 - done) / (done - at_start))} left")
        self._reporter.update(LABEL, done, ", ".join(words))


def amount(number: float) -> str:
    """Bytes, for people: 512 B, 1.5 MB, 20 GB."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    digits = 0 if units[0] == "B" or number >= 10 else 1
    return f"{number:.{digits}f} {units[0]}"


def duration(seconds: float) -> str:
    """45 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
