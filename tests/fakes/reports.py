"""A reporter that remembers."""

from typing import Any, Self


class RecordingReporter:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.updates: list[tuple[str, float, str]] = []
        self.ends: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def update(self, label: str, done: float, text: str) -> None:
        self.updates.append((label, done, text))

    def end(self, label: str, text: str) -> None:
        self.ends.append((label, text))
