"""One core per run, so that times compare: which cores there are, and how to keep to one."""

import logging
import os

from benchmark.errors import UserError

# Read by OpenMP, OpenBLAS, MKL and NumPy when they are loaded.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

log = logging.getLogger(__name__)


def available() -> list[int]:
    """The cores that this process may use, in order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def used() -> int | None:
    """How many cores this process is kept to; None where the system cannot keep it to any."""
    return len(available()) if hasattr(os, "sched_setaffinity") else None


def pin(core: int) -> None:
    """Keeps this process and its threads to `core`. To be called before JAX, PyTorch or NumPy is
    imported: they size their thread pools by what they may use when they are loaded.

    Where the system cannot do that (macOS) nothing is set, and a warning logged.

    Raises:
        UserError: the core is not one of `available()`.
    """
    if core not in available():
        allowed = ", ".join(map(str, available()))
        raise UserError(f"--cpu_core={core}: not a core of this process; allowed: {allowed}")
    if not hasattr(os, "sched_setaffinity"):
        log.warning("--cpu_core=%d: this system cannot keep a process to a core, not set", core)
        return
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    os.sched_setaffinity(0, {core})
