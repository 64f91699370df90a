"""Times the steps of one optimizer in a process of its own: `python -m speed.worker SETUP`.

SETUP and what is printed are the fields of `Setup` and `Measured` as JSON. The number of threads is
set before a framework is imported.
"""

import dataclasses
import gc
import importlib
import json
import os
import resource
import sys
import time

from speed.contenders import refreshes
from speed.tensors import tensors


@dataclasses.dataclass(frozen=True)
class Setup:
    """framework: `jax` or `pytorch`; model: of `tensors.models`; periods: of `refresh_every` steps
    that are timed, after the first one."""

    framework: str
    contender: str
    model: str
    threads: int = 1
    refresh_every: int = 10
    periods: int = 2


@dataclasses.dataclass(frozen=True)
class Measured:
    """Seconds of single steps, without and with a refresh, and of compilation; bytes of the state,
    and by how many bytes the process at its largest exceeded what it held after the first step."""

    plain_s: list[float]
    refresh_s: list[float]
    compile_s: float
    state_bytes: int
    temporary_bytes: int


def measure(setup: Setup) -> Measured:
    """In this process, whose threads have been set."""
    framework = importlib.import_module(f"speed.{setup.framework}")
    found = tensors(setup.model, setup.framework)
    stepper = framework.Stepper(setup.contender, found, setup.refresh_every)
    compile_s = stepper.compile()
    # The first step allocates the state, and its refresh is another one than later ones.
    stepper.prepare(1)
    stepper.step()
    plain, refresh = [], []
    gc.collect()
    gc.disable()
    held = _resident()
    for number in range(2, 2 + setup.periods * setup.refresh_every):
        stepper.prepare(number)
        start = time.perf_counter()
        stepper.step()
        seconds = time.perf_counter() - start
        due = refreshes(setup.contender) and (number - 1) % setup.refresh_every == 0
        (refresh if due else plain).append(seconds)
    largest = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(plain, refresh, compile_s, stepper.state_bytes(), max(0, largest - held))


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


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
    set_threads(setup.framework, setup.threads)
    print(json.dumps(dataclasses.asdict(measure(setup))))


if __name__ == "__main__":
    main()
