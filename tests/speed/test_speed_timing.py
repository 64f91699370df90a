"""What is measured for a table, in which order and by whom; nothing is really timed."""

import dataclasses
import sys

import pytest

from speed import devices, race, ranks, timing
from speed.devices import Counted, CountSetup
from speed.floor import FloorSetup, Rates
from speed.worker import Measured, Setup

MEASURED = Measured([1.0], [2.0], 0.0, 1, 1)
JAX = [Setup("jax", name, "3x4x4") for name in ("optax_adamw", "soap", "muon")]


@pytest.fixture
def started(monkeypatch) -> list[object]:
    """What is asked for, in turn."""
    found: list[object] = []

    def run(setup: Setup, python: str) -> Measured:
        found.append((setup.contender, python))
        return MEASURED

    def run_ranks(setup: Setup):
        found.append((setup.contender, setup.ranks))
        return [(dataclasses.replace(setup, rank=rank), MEASURED) for rank in (0, 1)]

    def run_floor(setup: FloorSetup) -> Rates:
        found.append("floor")
        return Rates([1.0] * len(setup.sizes), 1.0)

    def count(setup: CountSetup) -> Counted:
        found.append(setup)
        return Counted(setup.devices, [[3, 1]])

    monkeypatch.setattr(race, "run", run)
    monkeypatch.setattr(ranks, "run", run_ranks)
    monkeypatch.setattr(race, "run_floor", run_floor)
    monkeypatch.setattr(devices, "run", count)
    return found


def test_one_process_and_ranks_take_turns(started: list[object]):
    setups = [
        Setup("pytorch", "torch_adamw_fused", "3x4x4"),
        Setup("pytorch", "soap", "3x4x4"),
        Setup("pytorch", "soap", "3x4x4", ranks=2),
        Setup("pytorch", "torch_muon", "3x4x4"),
    ]
    found = timing.timed(setups, repeats=2, peer_python="theirs")
    assert found["contender"].tolist() == ["torch_adamw_fused", *["soap"] * 3, "torch_muon"]
    assert found["rank"].tolist() == [0, 0, 0, 1, 0]
    once = [("torch_adamw_fused", sys.executable), ("soap", sys.executable), ("soap", 2)]
    assert started == ["floor", *once, ("torch_muon", "theirs")] * 2


def test_what_refreshes_is_counted_once_whatever_the_threads_and_repeats(started: list[object]):
    setups = JAX + [dataclasses.replace(setup, threads=2) for setup in JAX]
    found = timing.timed(setups, repeats=2, num_devices=8)
    assert [each for each in started if isinstance(each, CountSetup)] == [
        CountSetup("soap", "3x4x4", 8)
    ]
    assert found["devices"].tolist() == [1, 8, 1] * 2


def test_nothing_is_counted_for_one_device(started: list[object]):
    timing.timed(JAX, repeats=1)
    assert not any(isinstance(each, CountSetup) for each in started)


def test_progress_is_told(started: list[object]):
    told = []

    def track(tasks, title):
        told.append((title, len(tasks)))
        return tasks

    timing.timed(JAX, repeats=3, num_devices=8, track=track)
    assert told == [("counting", 1), ("timing", 12)]
