"""What differs between the frameworks for a runner: devices, waiting, compiling, threads.

Neither framework is imported before its backend is made, and a run makes one of them only.
"""

import functools
import resource
import sys
import time
from typing import Any, Protocol

from algoperf_api import random_utils
from benchmark import ranks


class Backend(Protocol):
    @property
    def random(self) -> random_utils.JaxRandom | random_utils.NumpyRandom:
        """The generator of AlgoPerf's random states."""
        ...

    @property
    def num_devices(self) -> int:
        """Devices that a global batch is divided among: JAX's, or the processes of a torchrun."""
        ...

    @property
    def on_gpu(self) -> bool:
        """Whether this process computes on GPUs."""
        ...

    def wait(self, tree: Any) -> None:
        """Returns when the device has finished computing every array of `tree`."""

    def compile_seconds(self) -> float:
        """Wall-clock seconds that this process has spent compiling so far."""
        ...

    def peak_memory_bytes(self) -> int:
        """The most that this process has used so far: of the fullest of its GPUs, or of main memory
        where it computes on a CPU."""
        ...


class JaxBackend:
    def __init__(self) -> None:
        import jax
        import jax.monitoring

        # AlgoPerf's settings; they are also the defaults of JAX 0.5 and later.
        jax.config.update("jax_default_prng_impl", "threefry2x32")
        jax.config.update("jax_threefry_partitionable", True)
        self._block = jax.block_until_ready
        self._device_count = jax.device_count
        self._local_devices = jax.local_devices
        self.random = random_utils.for_framework("jax")
        self._compiled = UnionOfIntervals()
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)

    @property
    def num_devices(self) -> int:
        return self._device_count()

    @property
    def on_gpu(self) -> bool:
        return self._local_devices()[0].platform == "gpu"

    def _on_duration(self, event: str, duration_secs: float, **_: Any) -> None:
        # Tracing, lowering to MLIR and XLA's own compilation.
        if event.startswith("/jax/core/compile/"):
            end = time.perf_counter()
            self._compiled.add(end - duration_secs, end)

    def wait(self, tree: Any) -> None:
        self._block(tree)

    def compile_seconds(self) -> float:
        return self._compiled.length

    def peak_memory_bytes(self) -> int:
        # None, or without the key, where a platform does not count.
        stats = [device.memory_stats() or {} for device in self._local_devices()]
        return max(found.get("peak_bytes_in_use", 0) for found in stats) or _peak_main_memory()


class TorchBackend:
    def __init__(self) -> None:
        import torch

        self._torch = torch
        self.random = random_utils.for_framework("pytorch")

    @property
    def num_devices(self) -> int:
        return ranks.count()

    @property
    def on_gpu(self) -> bool:
        return self._torch.cuda.is_available()

    def wait(self, tree: Any) -> None:
        del tree  # on a CPU PyTorch computes before it returns
        if self.on_gpu:
            self._torch.cuda.synchronize()

    def compile_seconds(self) -> float:
        """What `torch.compile` has spent on forward and backward graphs; 0 without it."""
        # Importing it takes seconds, and nothing was compiled where nobody has imported it.
        dynamo = sys.modules.get("torch._dynamo.utils")
        # Without the total before anything is compiled, in PyTorch 2.5.
        return float(dynamo.calculate_time_spent().get("total_wall_time", 0.0)) if dynamo else 0.0

    def peak_memory_bytes(self) -> int:
        if self.on_gpu:
            return self._torch.cuda.max_memory_allocated()
        return _peak_main_memory()


def _peak_main_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB on Linux


class UnionOfIntervals:
    """Length of a union of time intervals that arrive in the order of their ends.

    JAX reports a duration for every nested trace as well as for the outer one; adding them up
    would count the inner ones twice.
    """

    def __init__(self) -> None:
        self._intervals: list[tuple[float, float]] = []
        self.length = 0.0

    def add(self, start: float, end: float) -> None:
        while self._intervals and self._intervals[-1][1] > start:
            last_start, last_end = self._intervals.pop()
            self.length -= last_end - last_start
            start = min(start, last_start)
        self._intervals.append((start, end))
        self.length += end - start


@functools.cache
def load(framework: str) -> Backend:
    """The backend of `framework`, one per process: JAX's listeners cannot be taken away again."""
    return {"jax": JaxBackend, "pytorch": TorchBackend}[framework]()


def use_one_thread(framework: str) -> None:
    """Tells PyTorch, which counts cores by itself, to use one thread. JAX sizes its pool by the
    cores that the process may use (`cores.pin`)."""
    if framework == "pytorch":
        import torch

        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
