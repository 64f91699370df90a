"""Times the steps of one contender in a process of its own: `python -m speed.worker SETUP [FILE]`.

SETUP and what is printed are the fields of `Setup` and `Measured` as JSON. The number of threads is
set before a framework is imported. Several ranks meet at FILE, an empty one.
"""

import ctypes
import dataclasses
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from speed.contenders import is_staggered, refreshes
from speed.peers import PEERS
from speed.tensors import tensors
from submissions.registry import OPTIMIZERS


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is timed.

    Attributes:
      framework: `jax` or `pytorch`.
      contender: see `contenders`.
      model: of `tensors.timed_models`, or a file.
      threads: of the process.
      refresh_every: steps between refreshes.
      periods: of `refresh_every` steps that are timed.
      settings: pairs of hyperparameters of this project's optimizers and values; who does not have
        one goes without.
      paths: folders that peers are imported from.
      ranks: processes of PyTorch that share refreshes, see `speed.ranks`.
      rank: the number of this one, from 0.
    """

    framework: str
    contender: str
    model: str
    threads: int = 1
    refresh_every: int = 10
    periods: int = 2
    settings: Sequence[tuple[str, Any]] = ()
    paths: Sequence[str] = ()
    ranks: int = 1
    rank: int = 0


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a process found.

    Attributes:
      plain_s, refresh_s: seconds of single steps without and with a refresh, in their order.
      compile_s: seconds; peers that compile in their first steps do not tell.
      state_bytes: of the state; of a peer's, what can be found.
      temporary_bytes: by how much the process at its largest exceeded what it held before the timed
        steps; what the heap had kept of earlier steps' arrays was held.
    """

    plain_s: list[float]
    refresh_s: list[float]
    compile_s: float
    state_bytes: int
    temporary_bytes: int


def refreshes_at_once(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether this is an optimizer of this project's whose refreshes all fall in the same steps."""
    return name in OPTIMIZERS and refreshes(name) and not is_staggered(name, settings)


def measure(setup: Setup) -> Measured:
    """In this process, whose threads have been set."""
    sys.path[:0] = setup.paths
    framework = importlib.import_module(f"speed.{setup.framework}")
    found = tensors(setup.model, setup.framework)
    every = setup.refresh_every
    stepper = framework.Stepper(setup.contender, found, every, dict(setup.settings))
    compile_s = stepper.compile()
    # The first step allocates the state, and its refresh is another one than later ones. Peers may
    # compile or wait for their first refresh as well.
    untimed = 1 + every if setup.contender in PEERS else 1
    for number in range(1, untimed + 1):
        stepper.prepare(number)
        stepper.step()
    gc.collect()
    gc.disable()
    _forget_peak()
    held = _resident("VmRSS")
    seconds = []
    for number in range(untimed + 1, untimed + 1 + setup.periods * every):
        stepper.prepare(number)
        if setup.ranks > 1:
            _wait_for_all()
        start = time.perf_counter()
        stepper.step()
        seconds.append(time.perf_counter() - start)
    temporary = max(0, _resident("VmHWM") - held)
    plain, refresh = sort(seconds, setup)
    return Measured(plain, refresh, compile_s, stepper.state_bytes(), temporary)


def sort(seconds: Sequence[float], setup: Setup) -> tuple[list[float], list[float]]:
    """The seconds of whole periods, parted in those of steps without and with a refresh.

    This project's refresh in the last step of a period, the first step of all not counted; where
    they are staggered, no step is another than the others. Peers have schedules of their own, also
    irregular ones: the slowest step of a period is the one.
    """
    if not refreshes(setup.contender) or is_staggered(setup.contender, dict(setup.settings)):
        return list(seconds), []
    plain, refresh = [], []
    for start in range(0, len(seconds), setup.refresh_every):
        period = list(seconds[start : start + setup.refresh_every])
        slowest = period.index(max(period))
        refresh.append(period.pop(slowest if setup.contender in PEERS else -1))
        plain += period
    return plain, refresh


def _wait_for_all() -> None:
    """As ranks do in every step that exchanges gradients: else the waits of all steps since the
    last refresh would count as the refresh's."""
    import torch.distributed as dist

    dist.barrier()


def _forget_peak() -> None:
    """From here on `VmHWM` is the most that the process has held since."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _resident(field: str) -> int:
    """Bytes that the process holds (`VmRSS`) or has held at most (`VmHWM`)."""
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def _share_one_heap() -> None:
    """Of all threads: else each keeps as much as its largest temporary array for itself, and the
    process grows by what no step needs. C libraries other than glibc have no such heaps."""
    m_arena_max = -8
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(m_arena_max, 1)


def set_threads(framework: str, threads: int) -> None:
    """Of this process, before the framework is imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if framework == "jax":
        # XLA's own pool has as many threads as the process has cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    else:
        import torch

        torch.set_num_threads(threads)


def main() -> None:
    setup = Setup(**json.loads(sys.argv[1]))
    _share_one_heap()
    set_threads(setup.framework, setup.threads)
    if setup.ranks == 1:
        measured = measure(setup)
    else:
        import torch.distributed as dist

        meeting = f"file://{sys.argv[2]}"
        dist.init_process_group("gloo", meeting, rank=setup.rank, world_size=setup.ranks)
        measured = measure(setup)
        _wait_for_all()
        dist.destroy_process_group()
    print(json.dumps(dataclasses.asdict(measured)))


if __name__ == "__main__":
    main()
