"""The least time of a step on this machine: `python -m speed.floor SETUP` measures its rates.

    floor = sum over product sizes of FLOPs / rate(size)  +  bytes / bandwidth

with the FLOPs and bytes of `speed.work`. Rates are those of the framework's own matrix product, in
float32, at the sizes that the model has; bandwidth is that of adding a number to an array in place,
read and written, of as many bytes as the lightest contender moves. Both are measured in a process
of their own, with as many threads as the steps have. No step can be faster but by fewer or cheaper
operations, half precision for one.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from speed.work import Size, Work
from speed.worker import set_threads

LARGE = 1 << 24  # numbers of an array that no cache holds: longer ones are as slow
CACHED_BYTES = 3 << 19  # of the largest operand of a batch, as stacks have
LEAST_SECONDS = 5e-3  # of one timing
REPEATS = 3

Call = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class FloorSetup:
    """framework: `jax` or `pytorch`; model: whose sizes are measured; threads: of the process;
    sizes: (rows, inner, columns) of products; numbers: of the array that is read and written."""

    framework: str
    model: str
    threads: int
    sizes: Sequence[Size]
    numbers: int


@dataclasses.dataclass(frozen=True)
class Rates:
    """FLOP/s of products of the sizes of a `FloorSetup`, in their order, and bytes/s read and
    written."""

    flops: Sequence[float]
    bandwidth: float


@dataclasses.dataclass(frozen=True)
class Floor:
    """Seconds of a step without refresh, of a refresh on top, and of the largest refresh of one
    matrix."""

    plain_s: float
    refresh_s: float
    largest_refresh_s: float

    def amortised_s(self, refresh_every: int) -> float:
        """Of a step on average, with one refresh in so many."""
        return self.plain_s + self.refresh_s / refresh_every


def sizes(works: Iterable[Work]) -> tuple[Size, ...]:
    """All sizes of products that occur."""
    return tuple(
        sorted({size for work in works for size in (*work.products, *work.refresh_products)})
    )


def numbers(works: Iterable[Work]) -> int:
    """How many numbers the lightest reads and writes, up to LARGE."""
    return min(LARGE, *(max(1, work.step_bytes // 8) for work in works))


def best(setup: FloorSetup, measured: Sequence[Rates]) -> tuple[dict[Size, float], float]:
    """The highest rates of several measurements, by size, and the highest bandwidth."""
    rates = {
        (rows, inner, columns): max(run.flops[number] for run in measured)
        for number, (rows, inner, columns) in enumerate(setup.sizes)
    }
    return rates, max(run.bandwidth for run in measured)


def floor(work: Work, rates: Mapping[Size, float], bandwidth: float) -> Floor:
    """Of a step that does `work`."""

    def seconds(products: Mapping[Size, float]) -> float:
        return sum(flops / rates[size] for size, flops in products.items())

    return Floor(
        plain_s=seconds(work.products) + work.step_bytes / bandwidth,
        refresh_s=seconds(work.refresh_products) + work.refresh_bytes / bandwidth,
        largest_refresh_s=seconds(work.largest_refresh),
    )


def measure(setup: FloorSetup) -> Rates:
    """In this process, whose threads have been set."""
    product, sweep = {"jax": _jax, "pytorch": _pytorch}[setup.framework]()
    rates = []
    for rows, inner, columns in setup.sizes:
        largest = 4 * max(rows * inner, inner * columns, rows * columns)
        flops = 2 * rows * inner * columns
        batches = {1, max(1, CACHED_BYTES // largest)}
        rates.append(
            max(batch * flops / seconds(product(rows, inner, columns, batch)) for batch in batches)
        )
    return Rates(rates, 8 * setup.numbers / seconds(sweep(setup.numbers)))


def seconds(call: Call) -> float:
    """Of a call: the least of several means over enough calls to be timed."""
    call()
    start = time.perf_counter()
    call()
    number = max(1, round(LEAST_SECONDS / (time.perf_counter() - start)))
    means = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(number):
            call()
        means.append((time.perf_counter() - start) / number)
    return min(means)


def _pytorch() -> tuple[Callable[[int, int, int, int], Call], Callable[[int], Call]]:
    import torch

    def product(rows: int, inner: int, columns: int, batch: int) -> Call:
        left = torch.randn(batch, rows, inner)
        # Square results are taken for Gram matrices.
        right = left.mT if rows == columns else torch.randn(batch, inner, columns)
        out = torch.empty(batch, rows, columns)
        return lambda: torch.matmul(left, right, out=out)

    def sweep(length: int) -> Call:
        array = torch.zeros(length)
        return lambda: array.add_(1.0)

    return product, sweep


def _jax() -> tuple[Callable[[int, int, int, int], Call], Callable[[int], Call]]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    gram = jax.jit(lambda left: jnp.matmul(left, left.mT))
    plain = jax.jit(jnp.matmul)
    add = jax.jit(lambda array: array + 1.0, donate_argnums=0)

    def product(rows: int, inner: int, columns: int, batch: int) -> Call:
        chance = np.random.default_rng(0)
        left = jnp.asarray(chance.standard_normal((batch, rows, inner), np.float32))
        if rows == columns:
            return lambda: gram(left).block_until_ready()
        right = jnp.asarray(chance.standard_normal((batch, inner, columns), np.float32))
        return lambda: plain(left, right).block_until_ready()

    def sweep(length: int) -> Call:
        held = [jnp.zeros(length, np.float32)]

        def call() -> None:
            held.append(add(held.pop()).block_until_ready())

        return call

    return product, sweep


def main() -> None:
    setup = FloorSetup(**json.loads(sys.argv[1]))
    set_threads(setup.framework, setup.threads)
    print(json.dumps(dataclasses.asdict(measure(setup))))


if __name__ == "__main__":
    main()
