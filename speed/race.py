"""Times contenders side by side: one process each, in turn, several times over."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from speed import floor
from speed.contenders import family
from speed.floor import FloorSetup, Rates
from speed.tensors import tensors
from speed.work import Work, work
from speed.worker import Measured, Setup

REPOSITORY = Path(__file__).parents[1]


class StepError(Exception):
    """A worker failed; the message is one line."""


def run(setup: Setup, python: str = sys.executable) -> Measured:
    """Times one contender once, in a process of its own.

    Args:
        setup: what to time.
        python: the interpreter to do it with.

    Raises:
        StepError: the process failed; its last line says why.
    """
    title = f"{setup.contender} on {setup.model} ({setup.framework})"
    return Measured(**_worker("speed.worker", setup, python, title))


def run_floor(setup: FloorSetup) -> Rates:
    """Measures the machine once, in a process of its own.

    Raises:
        StepError: the process failed; its last line says why.
    """
    title = f"the floor of {setup.model} ({setup.framework})"
    return Rates(**_worker("speed.floor", setup, sys.executable, title))


def _worker(module: str, setup: Setup | FloorSetup, python: str, title: str) -> dict[str, Any]:
    command = [python, "-m", module, json.dumps(dataclasses.asdict(setup))]
    # Before the process's first import: later is too late for some of its libraries.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(setup.threads))
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | threads
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        raise StepError(f"{title}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def works(setups: Iterable[Setup]) -> dict[Setup, Work]:
    """The work of a step of every setup's family."""
    return {
        setup: work(family(setup.contender), tensors(setup.model, setup.framework), setup.framework)
        for setup in setups
    }


def floors(found: dict[Setup, Work]) -> list[FloorSetup]:
    """What to measure of the machine for these: once per framework, model and number of threads."""
    places: dict[tuple[str, str, int], list[Work]] = {}
    for setup, todo in found.items():
        places.setdefault((setup.framework, setup.model, setup.threads), []).append(todo)
    return [
        FloorSetup(*place, floor.sizes(todo), floor.numbers(todo)) for place, todo in places.items()
    ]


def schedule(setups: Sequence[Any], repeats: int) -> Iterator[Any]:
    """Every one once, then again: what disturbs the machine for a while disturbs all alike."""
    for _ in range(repeats):
        yield from setups
