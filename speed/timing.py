"""All that a table of step times is made of, measured in turn."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from speed import devices, race, ranks
from speed.contenders import refreshes
from speed.devices import Counted, CountSetup
from speed.peers import PEERS
from speed.table import table
from speed.worker import Setup
from submissions.registry import OPTIMIZERS

# Passes on what it is given, and may show how far that has come; the title says what is done.
Track = Callable[[Sequence[Any], str], Iterable[Any]]


def timed(
    setups: Sequence[Setup],
    *,
    repeats: int,
    num_devices: int = 1,
    peer_python: str = sys.executable,
    track: Track = lambda tasks, title: tasks,
) -> pd.DataFrame:
    """The table of `speed.table`.

    Args:
        setups: what to time.
        repeats: processes of each, all taken in turn.
        num_devices: if more than 1, this project's optimizers that refresh are compiled for so many
            JAX devices.
        peer_python: the interpreter that has the peers' packages.
        track: shows progress.

    Raises:
        StepError: something that was started has failed.
    """
    counted = _counted(setups, num_devices, track) if num_devices > 1 else {}
    works = race.works(setups)
    machines = race.floors(works)
    results, rates = [], []
    for setup in track(list(race.schedule([*machines, *setups], repeats)), "timing"):
        if setup not in works:
            rates.append((setup, race.run_floor(setup)))
        elif setup.ranks > 1:
            results += ranks.run(setup)
        else:
            python = peer_python if setup.contender in PEERS else sys.executable
            results.append((setup, race.run(setup, python)))
    return table(results, works, rates, counted)


def _counted(setups: Sequence[Setup], number: int, track: Track) -> dict[Setup, Counted]:
    wanted = {
        setup: CountSetup(setup.contender, setup.model, number, setup.settings)
        for setup in setups
        if setup.contender in OPTIMIZERS and refreshes(setup.contender)
    }
    # The number of threads makes no difference.
    found = {
        each: devices.run(each) for each in track(list(dict.fromkeys(wanted.values())), "counting")
    }
    return {setup: found[each] for setup, each in wanted.items()}
