"""The table of step times, from what workers measured."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from speed import floor, ranks
from speed.contenders import REFERENCES, family, is_staggered
from speed.devices import Counted
from speed.floor import FloorSetup, Rates
from speed.tensors import copies, tensors
from speed.work import Work
from speed.worker import Measured, Setup

Place = tuple[str, str, int]  # framework, model, threads

SHOWN = [
    *("contender", "model", "threads", "plain_ms", "floor_ms", "over_floor", "refresh_ms"),
    *("amortised_ms", "ratio", "p50_ms", "p95_ms", "max_ms", "compile_s", "state_mb"),
    "temporary_mb",
]
RANKS_SHOWN = ["ranks", "rank", "refresh_share"]


def table(
    results: Iterable[tuple[Setup, Measured]],
    works: Mapping[Setup, Work],
    rates: Iterable[tuple[FloorSetup, Rates]],
    counted: Mapping[Setup, Counted] | None = None,
) -> pd.DataFrame:
    """One row per contender, model, number of threads, and rank, in the order in which they first
    come.

    Medians are over the steps of all repeats. Times in milliseconds, memory in 10^6 bytes; NaN
    where a column asks for refreshes of what has none, or for steps without one where all share
    them.

    * family: this project's optimizer that a contender is compared with, whose formulas floors,
      `formula_mb` and `stack_mb` come from
    * ranks: how many processes shared the refreshes; rank: which of them, from 0; refresh_share:
      what part of all refreshes it was dealt, by their cost, NaN for one process
    * parameters: numbers in the model
    * ns_per_parameter: amortised_ms / parameters, in nanoseconds
    * devices: how many virtual devices the refreshes were counted on, 1 where they were not;
      over_share, device_shares: see `devices.Counted`, the latter as B:matrices, B:matrices
    * staggered: whether steps share the refreshes
    * plain_ms, refresh_ms: medians of steps without and with a refresh; p50_ms, p95_ms, max_ms: of
      all steps
    * amortised_ms: of a step on average, from plain_ms and one refresh_ms in refresh_every steps;
      where refreshes are staggered, means over periods, and their median
    * max_over_p50: of all steps of a repeat; the median of the repeats
    * floor_ms: least time of a step without refresh, see `floor`, by the highest rates of all
      repeats; refresh_floor_ms: of a refresh on top; amortised_floor_ms: as amortised_ms;
      matrix_refresh_ms: of the largest refresh of one matrix
    * over_floor: plain_ms / floor_ms
    * ratio: amortised_ms / that of the first of REFERENCES in the same place, NaN if not timed
    * compile_s: seconds, median
    * state_mb: of the state; formula_mb: by the formulas
    * temporary_mb: what a process at its largest held beside what it held before the timed steps,
      the largest of all repeats; stack_mb: gradients and state of the largest stack
    """
    by_setup: dict[Setup, list[Measured]] = {}
    for setup, measured in results:
        by_setup.setdefault(setup, []).append(measured)
    by_floor: dict[FloorSetup, list[Rates]] = {}
    for machine, measured in rates:
        by_floor.setdefault(machine, []).append(measured)
    best = {_place(machine): floor.best(machine, runs) for machine, runs in by_floor.items()}
    times = {setup: _times(runs, setup) for setup, runs in by_setup.items()}
    references = {
        _place(setup): times[setup]["amortised_ms"]
        for setup in by_setup
        if setup.contender == REFERENCES[setup.framework][0]
    }
    rows = []
    for setup, runs in by_setup.items():
        place = _place(setup)
        work = works[dataclasses.replace(setup, rank=0)]
        row = times[setup] | _floor(work, *best[place], setup.refresh_every)
        row["over_floor"] = row["plain_ms"] / row["floor_ms"]
        row["ratio"] = row["amortised_ms"] / references.get(place, np.nan)
        row |= _size(setup, row["amortised_ms"]) | _counts((counted or {}).get(setup))
        rows.append(_identity(setup) | row | _memory(runs, work))
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame) -> str:
    """What is printed of the table: what the user has not asked for is left out."""
    names = list(SHOWN)
    if max(table["ranks"]) > 1:
        names[3:3] = RANKS_SHOWN
    if any(map(copies, table["model"])):
        names.append("ns_per_parameter")
    if max(table["devices"]) > 1:
        names += ["over_share", "device_shares"]
    rounded: Any = "{:.4g}".format  # as pandas has it, though its types say otherwise
    return table[names].to_string(index=False, float_format=rounded, na_rep="-")


def _place(setup: Setup | FloorSetup) -> Place:
    return setup.framework, setup.model, setup.threads


def _identity(setup: Setup) -> dict[str, Any]:
    return {
        "framework": setup.framework,
        "contender": setup.contender,
        "family": family(setup.contender),
        "model": setup.model,
        "threads": setup.threads,
        "ranks": setup.ranks,
        "rank": setup.rank,
        "refresh_share": ranks.share(setup) if setup.ranks > 1 else np.nan,
        "staggered": _is_staggered(setup),
    }


def _is_staggered(setup: Setup) -> bool:
    return is_staggered(setup.contender, dict(setup.settings))


def _times(runs: Sequence[Measured], setup: Setup) -> dict[str, float]:
    every = setup.refresh_every
    plain = np.concatenate([run.plain_s for run in runs])
    refresh = np.concatenate([run.refresh_s for run in runs])
    both = np.concatenate([plain, refresh])
    median, refreshed = float(np.median(plain)), np.nan
    if _is_staggered(setup):
        amortised = float(np.median(plain.reshape(-1, every).mean(axis=1)))
        median = np.nan
    elif len(refresh):
        refreshed = float(np.median(refresh))
        amortised = ((every - 1) * median + refreshed) / every
    else:
        amortised = median
    peaks = [
        max(steps) / np.median(steps) for run in runs if (steps := run.plain_s + run.refresh_s)
    ]
    return {
        "plain_ms": 1e3 * median,
        "refresh_ms": 1e3 * refreshed,
        "amortised_ms": 1e3 * amortised,
        "p50_ms": 1e3 * float(np.median(both)),
        "p95_ms": 1e3 * float(np.quantile(both, 0.95)),
        "max_ms": 1e3 * float(both.max()),
        "max_over_p50": float(np.median(peaks)),
        "compile_s": float(np.median([run.compile_s for run in runs])),
    }


def _floor(
    work: Work, rates: Mapping[Any, float], bandwidth: float, refresh_every: int
) -> dict[str, float]:
    least = floor.floor(work, rates, bandwidth)
    return {
        "floor_ms": 1e3 * least.plain_s,
        "refresh_floor_ms": 1e3 * least.refresh_s if work.refresh_flops else np.nan,
        "amortised_floor_ms": 1e3 * least.amortised_s(refresh_every),
        "matrix_refresh_ms": 1e3 * least.largest_refresh_s,
    }


def _size(setup: Setup, amortised_ms: float) -> dict[str, float]:
    parameters = sum(math.prod(shape) for shape, _ in tensors(setup.model, setup.framework))
    return {"parameters": parameters, "ns_per_parameter": 1e6 * amortised_ms / parameters}


def _counts(counted: Counted | None) -> dict[str, Any]:
    if counted is None:
        return {"devices": 1, "over_share": np.nan, "device_shares": ""}
    pairs = (f"{matrices}:{mine}" for matrices, mine in counted.shares)
    return {
        "devices": counted.devices,
        "over_share": counted.over_share,
        "device_shares": ", ".join(pairs),
    }


def _memory(runs: Sequence[Measured], work: Work) -> dict[str, float]:
    return {
        "state_mb": runs[0].state_bytes / 1e6,
        "formula_mb": work.state_bytes / 1e6,
        "temporary_mb": max(run.temporary_bytes for run in runs) / 1e6,
        "stack_mb": work.largest_stack_bytes / 1e6,
    }
