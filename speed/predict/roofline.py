"""Seconds of a load on a device: what it multiplies, moves, launches, factorises and gathers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from speed.predict.gpus import GPUS, Gpu

FLOAT_BYTES = 4
Product = tuple[int, int, int]  # rows, inner, columns


@dataclass(frozen=True)
class Constants:
    """What the data sheets do not say.

    Attributes:
      efficiency: share of a device's peak that matrix products reach.
      launch: seconds per operation.
      factorisation: FLOP/s of eigendecompositions and their like on a V100.
    """

    efficiency: float
    launch: float
    factorisation: float


@dataclass(frozen=True)
class Load:
    """What one device does.

    Attributes:
      products: number of matrix products by size.
      moved: bytes read and written by everything but products and factorisations.
      launches: operations.
      factorised: FLOPs of factorisations.
      gathered: bytes of a result, of which every device makes its share.
    """

    products: Mapping[Product, float] = field(default_factory=dict)
    moved: float = 0.0
    launches: float = 0.0
    factorised: float = 0.0
    gathered: float = 0.0

    def __add__(self, other: "Load") -> "Load":
        products = Counter(self.products)
        products.update(other.products)
        return Load(
            products,
            self.moved + other.moved,
            self.launches + other.launches,
            self.factorised + other.factorised,
            self.gathered + other.gathered,
        )

    @property
    def product_flops(self) -> float:
        return sum(number * flops(size) for size, number in self.products.items())


def flops(size: Product) -> int:
    """Of one product, a multiply-add counted as 2."""
    rows, inner, columns = size
    return 2 * rows * inner * columns


def product_seconds(load: Load, gpu: Gpu, constants: Constants, precision: str) -> float:
    """Of the matrix products alone: each size bound by arithmetic or by memory."""
    peak = constants.efficiency * gpu.peak[precision]
    width = FLOAT_BYTES if precision in ("fp32", "tf32") else FLOAT_BYTES // 2
    return sum(
        number * max(flops((m, k, n)) / peak, width * (m * k + k * n + m * n) / gpu.bandwidth)
        for (m, k, n), number in load.products.items()
    )


def factorisation_seconds(load: Load, gpu: Gpu, constants: Constants) -> float:
    """At the calibrated rate, in the ratio of the memory bandwidths: half of a reduction to
    tridiagonal form is products of matrices with vectors."""
    rate = constants.factorisation * gpu.bandwidth / GPUS["v100"].bandwidth
    return load.factorised / rate


def gather_seconds(load: Load, gpu: Gpu, devices: int) -> float:
    """Of an all-gather around a ring."""
    return load.gathered * (devices - 1) / devices / gpu.link


def seconds(
    load: Load, gpu: Gpu, devices: int, constants: Constants, precision: str = "fp32"
) -> float:
    """Of the whole load on each of `devices`, nothing overlapping."""
    return (
        product_seconds(load, gpu, constants, precision)
        + load.moved / gpu.bandwidth
        + load.launches * constants.launch
        + factorisation_seconds(load, gpu, constants)
        + gather_seconds(load, gpu, devices)
    )
