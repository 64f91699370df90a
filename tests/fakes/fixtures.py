"""Fixtures of the fake repository, for the conftest files of the rooms that use it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import known_workload, repository
from fakes.reports import RecordingReporter

POINTS = [{"learning_rate": 0.2, "delay": 0.0}, {"learning_rate": 0.1, "delay": 0.0}]


@pytest.fixture
def quadratic(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The fake workload in this process; calling it gives the workload other numbers."""

    def register(**arguments: Any) -> None:
        known_workload.register(monkeypatch.setattr, **arguments)

    register()
    return register


@pytest.fixture
def fake_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quadratic: Any) -> Iterator[Path]:
    """A repository with the submissions `fast` and `slow`, importable in this process; the real
    package `submissions` is put away for the test."""
    root = repository.make(tmp_path / "repository", {"fast": POINTS, "slow": POINTS[1:]})
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    put_away = {name: sys.modules.pop(name) for name in _submission_modules()}
    yield root
    for name in _submission_modules():
        del sys.modules[name]
    sys.modules.update(put_away)


def _submission_modules() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "submissions"]


@pytest.fixture
def reports() -> RecordingReporter:
    return RecordingReporter()
