"""Times an optimizer in several ranks of PyTorch on this machine, which share its refreshes."""

import dataclasses
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from matprec import balance
from matprec.torch import groups
from speed import plans, race
from speed.contenders import own_settings
from speed.tensors import tensors
from speed.worker import Measured, Setup


def run(setup: Setup) -> list[tuple[Setup, Measured]]:
    """Times `setup.ranks` processes, which run at once, each with `setup.threads` threads.

    Returns:
        What every rank has measured, with its own setup.

    Raises:
        StepError: a rank failed, and the others were ended; the last line of the first one that
            failed says why.
    """
    setups = [dataclasses.replace(setup, rank=rank) for rank in range(setup.ranks)]
    title = f"{setup.contender} on {setup.model} in {setup.ranks} ranks"
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(setup.ranks) as pool:
        meeting = str(Path(folder) / "ranks")
        environment = race.threads(setup.threads)
        processes: list[subprocess.Popen[str]] = []
        try:
            for mine in setups:
                call = race.call("speed.worker", mine, environment, sys.executable, meeting)
                processes.append(subprocess.Popen(**call))
            waits = {pool.submit(process.communicate): process for process in processes}
            found = {}
            for wait in as_completed(waits):
                process = waits[wait]
                found[process] = race.answer(title, process.returncode, *wait.result())
        finally:
            # A rank that waits for one that has failed would wait for half an hour.
            for process in processes:
                process.kill()
    return [
        (mine, Measured(**found[process])) for mine, process in zip(setups, processes, strict=True)
    ]


def share(setup: Setup) -> float:
    """What part of all refreshes is dealt to `setup.rank`, by their cost as `matprec.balance`
    counts it; NaN where nothing is refreshed."""
    loads = _loads(setup)
    return loads[setup.rank] / sum(loads) if sum(loads) else float("nan")


def _loads(setup: Setup) -> list[float]:
    given = own_settings(setup.contender, dict(setup.settings))
    algorithms = plans.algorithms(setup.contender, given)
    found = tensors(setup.model, setup.framework)
    plan = plans.plan(setup.contender, found, setup.framework, given)
    costs = [
        [balance.cost(algorithms[stack.elementwise], state)] * len(stack.pieces)
        for stack, state in zip(plan.stacks, groups.imagined(plan, algorithms), strict=True)
    ]
    return [
        sum(costs[number][row] for number, rows in enumerate(hand) for row in rows)
        for hand in balance.deal(costs, setup.ranks)
    ]
