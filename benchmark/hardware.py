"""The machine's GPUs, and whether they are those that a rule set's times are measured on."""

import functools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workloads_overrides.budgets import Hardware

_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
_ASK = {
    "jax": "import jax; print(jax.default_backend() == 'gpu')",
    "pytorch": "import torch; print(torch.cuda.is_available())",
}
_SLACK_GIB = 1.0  # drivers report a little less than the nominal memory


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number and UUID, either of which CUDA_VISIBLE_DEVICES takes, its product name,
    and its memory in GiB as the driver reports it."""

    index: str
    uuid: str
    name: str
    memory_gib: float

    def __str__(self) -> str:
        return f"{self.name} ({self.memory_gib:.0f} GiB)"


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The NVIDIA GPUs that CUDA_VISIBLE_DEVICES leaves visible, in its order; [] without a driver.

    Asked of `nvidia-smi`, which neither loads a framework nor takes GPU memory.
    """
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    gpus = [gpu for line in done.stdout.splitlines() if (gpu := _parse(line)) is not None]
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    return gpus if wanted is None else _selected(gpus, wanted)


@functools.cache
def gpus_for(framework: str) -> tuple[Gpu, ...]:
    """The visible GPUs that the installed 'jax' or 'pytorch' computes on: none if it is a build for
    CPUs. A process of its own is asked, in which the framework may take a GPU's memory."""
    gpus = tuple(visible_gpus())
    if not gpus:
        return ()
    done = subprocess.run([sys.executable, "-c", _ASK[framework]], capture_output=True, text=True)
    return gpus if done.stdout.strip() == "True" else ()


def matches(found: Sequence[Gpu], wanted: Hardware) -> bool:
    """Whether `found` are exactly the GPUs of `wanted`: kind, number and memory."""
    return len(found) == wanted.count and all(
        wanted.gpu in gpu.name and abs(gpu.memory_gib - wanted.memory_gib) <= _SLACK_GIB
        for gpu in found
    )


def describe(found: Sequence[Gpu]) -> str:
    """Such as '2x NVIDIA H100 (80 GiB)'; 'no GPU' for none."""
    kinds = dict.fromkeys(str(gpu) for gpu in found)
    counts = {kind: sum(str(gpu) == kind for gpu in found) for kind in kinds}
    return ", ".join(f"{count}x {kind}" for kind, count in counts.items()) or "no GPU"


def _parse(line: str) -> Gpu | None:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 4:
        return None
    index, uuid, name, memory_mib = parts
    try:
        return Gpu(index, uuid, name, float(memory_mib) / 1024)
    except ValueError:  # "[N/A]" where the memory is shared with the CPU
        return Gpu(index, uuid, name, 0.0)


def _selected(gpus: Sequence[Gpu], wanted: str) -> list[Gpu]:
    """What CUDA makes of CUDA_VISIBLE_DEVICES: the first entry that names no GPU ends the list."""
    selected = []
    for entry in wanted.split(","):
        entry = entry.strip()
        named = [
            gpu
            for gpu in gpus
            if entry == gpu.index or (entry.startswith("GPU-") and gpu.uuid.startswith(entry))
        ]
        if not named:
            break
        selected.append(named[0])
    return selected
