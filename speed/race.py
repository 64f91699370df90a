"""Times optimizers side by side: one process each, in turn, several times over."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from speed.contenders import REFERENCES
from speed.worker import Measured, Setup

REPOSITORY = Path(__file__).parents[1]


class StepError(Exception):
    """A worker failed; the message is one line."""


def run(setup: Setup) -> Measured:
    """Times one optimizer once, in a process of its own.

    Raises:
        StepError: the process failed; its last line says why.
    """
    command = [sys.executable, "-m", "speed.worker", json.dumps(dataclasses.asdict(setup))]
    # Before the process's first import: later is too late for some of its libraries.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(setup.threads))
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | threads
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StepError(f"{setup.contender} on {setup.model} ({setup.framework}): {last}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def schedule(setups: Sequence[Setup], repeats: int) -> Iterator[Setup]:
    """Every one once, then again: what disturbs the machine for a while disturbs all alike."""
    for _ in range(repeats):
        yield from setups


def table(results: Iterable[tuple[Setup, Measured]]) -> pd.DataFrame:
    """One row per contender, model and number of threads, in the order in which they first come.

    Milliseconds: `plain_ms`, `refresh_ms` (NaN without refreshes): medians over all steps of all
    repeats; `amortised_ms`: of a period of refresh_every steps with one refresh, by these medians;
    `p95_ms`, `max_ms`: of all steps. `compile_s`: median. `state_mb`, `temporary_mb`: 10^6 bytes,
    the latter the largest of all repeats. `ratio`: `amortised_ms` / that of the first of REFERENCES
    on the same model with as many threads, NaN if it was not timed.
    """
    by_setup: dict[Setup, list[Measured]] = {}
    for setup, measured in results:
        by_setup.setdefault(setup, []).append(measured)
    rows: list[dict[str, Any]] = []
    for setup, runs in by_setup.items():
        plain = np.concatenate([run.plain_s for run in runs])
        refresh = np.concatenate([run.refresh_s for run in runs])
        both = np.concatenate([plain, refresh])
        median = float(np.median(plain))
        refreshed = float(np.median(refresh)) if len(refresh) else np.nan
        every = setup.refresh_every
        amortised = median if np.isnan(refreshed) else ((every - 1) * median + refreshed) / every
        rows.append(
            {
                "framework": setup.framework,
                "contender": setup.contender,
                "model": setup.model,
                "threads": setup.threads,
                "plain_ms": 1e3 * median,
                "refresh_ms": 1e3 * refreshed,
                "amortised_ms": 1e3 * amortised,
                "p95_ms": 1e3 * float(np.quantile(both, 0.95)),
                "max_ms": 1e3 * float(both.max()),
                "compile_s": float(np.median([run.compile_s for run in runs])),
                "state_mb": runs[0].state_bytes / 1e6,
                "temporary_mb": max(run.temporary_bytes for run in runs) / 1e6,
            }
        )
    reference = {
        _place(row): row["amortised_ms"]
        for row in rows
        if row["contender"] == REFERENCES[row["framework"]][0]
    }
    for row in rows:
        row["ratio"] = row["amortised_ms"] / reference.get(_place(row), np.nan)
    return pd.DataFrame(rows)


def _place(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["framework"], row["model"], row["threads"]
