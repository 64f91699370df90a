"""Times contenders side by side: one process each, in turn, several times over."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    done = subprocess.run(**call(module, setup, threads(setup.threads), python))
    return answer(title, done.returncode, done.stdout, done.stderr)


def threads(number: int) -> dict[str, str]:
    """Environment variables for so many; after a process's first import they are too late for some
    of its libraries."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(number))


def call(
    module: str,
    setup: Any,
    environment: Mapping[str, str],
    python: str = sys.executable,
    *more: str,
) -> dict[str, Any]:
    """Arguments of `subprocess.run` or `Popen` for `python -m module SETUP more`.

    Args:
        module: its `main` reads the fields of a dataclass as JSON and prints those of another.
        setup: that dataclass.
        environment: what to change of this process's.
        python: the interpreter.
        *more: further arguments.
    """
    return {
        "args": [python, "-m", module, json.dumps(dataclasses.asdict(setup)), *more],
        "cwd": REPOSITORY,
        "env": os.environ | environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


def answer(title: str, status: int, stdout: str, stderr: str) -> dict[str, Any]:
    """What a process of `call` has printed.

    Raises:
        StepError: its exit status is not 0; its last line says why, after `title`.
    """
    if status:
        last = (stderr.strip().splitlines() or [f"ended with {status}"])[-1]
        raise StepError(f"{title}: {last}")
    return json.loads(stdout.splitlines()[-1])


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
