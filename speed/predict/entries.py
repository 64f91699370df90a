"""What the published entries of AlgoPerf's logs do per device, from their code and their settings.

Read in mlcommons/submissions_algorithms: `previous_leaderboards/algoperf_v05` and `algoperf_v06`
(external tuning), and `submissions/self_tuning` with `muon_torch` as of commit d1b6531d. Numbers of
arrays moved are those of the entries' elementwise operations one by one, as PyTorch runs them; for
JAX, each array once.
"""

import collections
import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from speed.predict.models import model
from speed.predict.roofline import FLOAT_BYTES, Load, Product
from speed.tensors import Tensor

BLOCK = 1024  # of Shampoo and CASPR Adaptive


@dataclass(frozen=True)
class Entry:
    """One submission as it was run.

    Attributes:
      framework: `jax` or `pytorch`.
      load: of one device and step, refreshes spread over their period, of (tensors, devices).
      batches: sizes that differ from the baseline's.
      precision: of its matrix products; JAX and PyTorch leave float32 at fp32 or, where the device
        has it, TF32.
    """

    framework: str
    load: Callable[[Sequence[Tensor], int], Load]
    batches: dict[str, int] | None = None
    precision: str | None = None

    def batch(self, workload: str) -> int:
        return (self.batches or {}).get(workload, model(workload).batch)


def same_batch(name: str, other: str, workload: str) -> bool:
    """Whether two entries took equal batches."""
    return ENTRIES[name].batch(workload) == ENTRIES[other].batch(workload)


def _elementwise(arrays: float, launches: int) -> Callable[[Sequence[Tensor], int], Load]:
    """`arrays` as large as the parameters read or written, and `launches` per tensor."""

    def load(tensors: Sequence[Tensor], devices: int) -> Load:
        return Load(moved=FLOAT_BYTES * arrays * _size(tensors), launches=launches * len(tensors))

    return load


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def shampoo(tensors: Sequence[Tensor], devices: int, period: int = 100) -> Load:
    """Distributed Shampoo: blocks belong to devices, which compute their updates alone and gather
    the parameters. Of the device with most products."""
    tables = [tensor for tensor in tensors if max(tensor.shape) >= 1_000_000]
    blocks = [
        block for tensor in tensors if tensor not in tables for block in _blocks(tensor.shape)
    ]
    loads = [_shampoo_blocks(own, period) for own in _shared(blocks, devices)]
    busiest = max(loads, key=lambda load: load.product_flops + load.factorised)
    everything = FLOAT_BYTES * _size(tensors)
    return (
        busiest
        + Load(moved=43 * FLOAT_BYTES * _size(tables) / devices, launches=20 if tables else 0)
        + Load(moved=2 * everything, gathered=everything)
    )


def _blocks(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Sides of length 1 dropped, neighbours merged up to BLOCK, cut into blocks of at most that."""
    merged: list[int] = []
    for side in [side for side in shape if side != 1] or [1]:
        if merged and merged[-1] * side <= BLOCK:
            merged[-1] *= side
        else:
            merged.append(side)
    cuts = [[BLOCK] * (side // BLOCK) + [side % BLOCK] * (side % BLOCK > 0) for side in merged]
    return list(itertools.product(*cuts))


def _shared(blocks: Sequence[tuple[int, ...]], devices: int) -> list[list[tuple[int, ...]]]:
    """By the entry's rule: largest first, to the device with the fewest elements."""
    shares: list[list[tuple[int, ...]]] = [[] for _ in range(devices)]
    heap = [(0, device) for device in range(devices)]
    for block in sorted(blocks, key=math.prod, reverse=True):
        size, device = heapq.heappop(heap)
        shares[device].append(block)
        heapq.heappush(heap, (size + math.prod(block), device))
    return shares


def _shampoo_blocks(blocks: Sequence[tuple[int, ...]], period: int) -> Load:
    products: dict[Product, float] = collections.defaultdict(float)
    moved = launches = factorised = 0.0
    for block in blocks:
        size = math.prod(block)
        for side in block:
            products[side, size // side, side] += 1
            products[size // side, side, side] += 1
            products[side, side, side] += 1 / period
            moved += FLOAT_BYTES * 5 * side**2
            factorised += 9 * side**3 / period
        moved += FLOAT_BYTES * 43 * size
        launches += 2 + 4 * len(block)
    return Load(products, moved, launches, factorised)


def caspr_adaptive(
    tensors: Sequence[Tensor], devices: int, iterations: float = 0.0, period: int = 20
) -> Load:
    """Whitening by blocks on every device; of the roots, all padded to BLOCK, each computes its
    share in `iterations` of three products, as many as the slowest of the share needs."""
    products: dict[Product, float] = collections.defaultdict(float)
    moved, roots = 7.0 * FLOAT_BYTES * _size(tensors), 0
    for tensor in tensors:
        if len(tensor.shape) < 2 or max(tensor.shape) > 40_000:
            continue
        rows, columns = _caspr_matrix(tensor.shape)
        across, along = math.ceil(rows / BLOCK), math.ceil(columns / BLOCK)
        m = rows if across == 1 else BLOCK
        n = columns if along == 1 else BLOCK
        blocks = across * along
        products[m, n, m] += blocks  # L
        products[m, m, n] += 2 * blocks  # L's root times gradient and momentum
        products[n, m, n] += blocks  # R
        products[m, n, n] += blocks  # momentum times R's root
        moved += FLOAT_BYTES * blocks * (3 * m * m + 3 * n * n + 6 * m * n)
        roots += 2 * blocks
    share = math.ceil(roots / devices)
    products[BLOCK, BLOCK, BLOCK] += 3 * iterations * share / period
    gathered = FLOAT_BYTES * roots * BLOCK**2 / period
    return Load(products, moved, 8 * len(tensors), gathered=gathered)


def _caspr_matrix(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) == 3:
        first, second, third = shape
        if second < first:
            return first, second * third
        return first * second, third
    return math.prod(shape[:-1]), shape[-1]


def muon(tensors: Sequence[Tensor], devices: int, steps: int = 5) -> Load:
    """Matrices in turn to the devices, in order of cost; gradients are scattered and parameters
    gathered, which takes as long as the all-reduce that it replaces. The rest by fused AdamW."""
    matrices = [_muon_matrix(tensor) for tensor in tensors if _by_muon(tensor)]
    matrices.sort(key=lambda size: 2 * size[0] ** 2 * size[1] + size[0] ** 3, reverse=True)
    products: dict[Product, float] = collections.defaultdict(float)
    moved = 7.0 * FLOAT_BYTES * _size(tensor for tensor in tensors if not _by_muon(tensor))
    for rows, columns in matrices[::devices]:
        d, longer = min(rows, columns), max(rows, columns)
        products[d, longer, d] += steps
        products[d, d, d] += steps
        products[d, d, longer] += steps
        moved += FLOAT_BYTES * (16 + 2 * steps) * rows * columns
    launches = (10 + 5 * steps) * len(matrices[::devices])
    return Load(products, moved, launches)


def _by_muon(tensor: Tensor) -> bool:
    # Criteo's tables are parameters named embedding_chunk_..., whatever their role here.
    return len(tensor.shape) > 1 and tensor.role != "embedding" and max(tensor.shape) < 1_000_000


def _muon_matrix(tensor: Tensor) -> tuple[int, int]:
    return tensor.shape[0], math.prod(tensor.shape[1:])


_SCHEDULE_FREE = {"fastmri": 16, "librispeech_conformer": 224, "librispeech_deepspeech": 128}
_SHAMPOO = {"librispeech_conformer": 200, "librispeech_deepspeech": 224}

# By the name of the folder of their logs. NAdamW in JAX: gradient, parameter and two moments read,
# three of them written.
ENTRIES: dict[str, Entry] = {
    "baseline": Entry("jax", _elementwise(7, 1)),
    "nadamw": Entry("jax", _elementwise(7, 1)),
    "nadamw_baselinev05": Entry("jax", _elementwise(7, 1)),
    "cautious_nadamw": Entry("jax", _elementwise(10, 2)),
    "generalized_adam": Entry("jax", _elementwise(7, 1)),
    "caspr_adaptive": Entry("jax", caspr_adaptive, precision="fp32"),
    "shampoo_submission": Entry("pytorch", shampoo, _SHAMPOO),
    "shampoo": Entry("pytorch", shampoo, _SHAMPOO),
    "schedule_free_adamw": Entry("pytorch", _elementwise(21, 9), _SCHEDULE_FREE),
    "schedule_free_adamw_v2": Entry("pytorch", _elementwise(26, 10), _SCHEDULE_FREE),
    "ademamix": Entry("pytorch", _elementwise(42, 18)),
    "muon_torch": Entry("pytorch", muon, precision="bf16"),
}
