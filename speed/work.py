"""What an optimizer's step must do on a model: floating-point operations and bytes, from formulas.

The formulas are those of the algorithms (`step_flops`, `refresh_flops`, `state_size`), summed over
the matrices and rows that the layout makes of a model's tensors, at default hyperparameters. They
count the mathematics, each array once, however a step is implemented.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import array_api_compat.torch as xp
import torch

from matprec.algorithms.base import Algorithm, MatrixAlgorithm
from matprec.step import COUNTERS
from speed import plans
from speed.plans import FLOAT_BYTES
from speed.tensors import Tensor

# Ends of the names of what only refreshes write: roots, bases, a factor of the refresh before.
FROM_REFRESHES = ("root", "basis", "_before")

Size = tuple[int, int, int]  # rows, inner, columns of a matrix product


@dataclasses.dataclass(frozen=True)
class Work:
    """Of one step over all tensors of a model.

    Attributes:
      step_flops, refresh_flops: of a step without refresh, and of a refresh on top, a multiply-add
        counted as 2.
      step_bytes: gradients, parameters and state read, parameters and state written, float32; what
        only refreshes write is only read.
      refresh_bytes: what only refreshes write.
      products, refresh_products: the FLOPs of both by the size of matrix products that they are
        spent in. Those of a preconditioned side of order k, in a step, are taken to be Gram
        matrices (k, l, k) and products with the other side l, (k, k, l), half and half; in a
        refresh (k, k, k). A method without products has none: its bytes take longer.
      largest_refresh: `refresh_products` of the one matrix that has most of them.
      state_bytes: by the formula, the counters of every matrix included. The formulas do not know
        of sides that are left out; there it is what `init` makes.
      largest_stack_bytes: gradients and state of the largest stack.
    """

    step_flops: float = 0
    refresh_flops: float = 0
    step_bytes: int = 0
    refresh_bytes: int = 0
    products: Mapping[Size, float] = dataclasses.field(default_factory=dict)
    refresh_products: Mapping[Size, float] = dataclasses.field(default_factory=dict)
    largest_refresh: Mapping[Size, float] = dataclasses.field(default_factory=dict)
    state_bytes: int = 0
    largest_stack_bytes: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Of two stacks."""
        return Work(
            step_flops=self.step_flops + other.step_flops,
            refresh_flops=self.refresh_flops + other.refresh_flops,
            step_bytes=self.step_bytes + other.step_bytes,
            refresh_bytes=self.refresh_bytes + other.refresh_bytes,
            products=_sum(self.products, other.products),
            refresh_products=_sum(self.refresh_products, other.refresh_products),
            largest_refresh=max(self.largest_refresh, other.largest_refresh, key=_total),
            state_bytes=self.state_bytes + other.state_bytes,
            largest_stack_bytes=max(self.largest_stack_bytes, other.largest_stack_bytes),
        )

    def times(self, number: int) -> "Work":
        """Of a stack of so many matrices, for that of one."""
        return Work(
            step_flops=number * self.step_flops,
            refresh_flops=number * self.refresh_flops,
            step_bytes=number * self.step_bytes,
            refresh_bytes=number * self.refresh_bytes,
            products={size: number * flops for size, flops in self.products.items()},
            refresh_products={
                size: number * flops for size, flops in self.refresh_products.items()
            },
            largest_refresh=self.largest_refresh,
            state_bytes=number * self.state_bytes,
            largest_stack_bytes=number * self.largest_stack_bytes,
        )


def work(name: str, tensors: Sequence[Tensor], framework: str) -> Work:
    """Of an optimizer of `submissions.registry` that has an algorithm.

    Args:
      name: of the optimizer.
      tensors: of a model, as `framework` has them.
      framework: `jax` or `pytorch`.
    """
    algorithm, fallback = plans.algorithms(name)
    total = Work()
    for stack in plans.plan(name, tensors, framework).stacks:
        one = of_matrix(fallback if stack.elementwise else algorithm, *stack.shape)
        total += one.times(len(stack.pieces))
    return total


def _sum(first: Mapping[Size, float], second: Mapping[Size, float]) -> dict[Size, float]:
    return {size: first.get(size, 0) + second.get(size, 0) for size in {**first, **second}}


def _total(products: Mapping[Size, float]) -> float:
    return sum(products.values())


def of_matrix(algorithm: Algorithm, rows: int, columns: int) -> Work:
    """Of a stack of one m x n matrix, or row of numbers (1, n)."""
    names = _names(algorithm, rows, columns)
    flops = _value(algorithm.step_flops, names)
    refresh_flops = _value(algorithm.refresh_flops, names)
    sizes = _state(algorithm, rows, columns)
    state = sum(sizes.values())
    written = sum(size for key, size in sizes.items() if not key.endswith(FROM_REFRESHES))
    whole = (names["left"], names["right"]) == (rows, columns)
    formula = int(_value(algorithm.state_size, names)) if whole else state
    orders = _orders(algorithm.step_flops, names)
    cubes = _refresh_products(refresh_flops, orders)
    return Work(
        step_flops=flops,
        refresh_flops=refresh_flops,
        step_bytes=FLOAT_BYTES * (3 * rows * columns + state + written),
        refresh_bytes=FLOAT_BYTES * (state - written),
        products=_step_products(flops, orders, rows, columns),
        refresh_products=cubes,
        largest_refresh=cubes,
        state_bytes=FLOAT_BYTES * (formula + len(COUNTERS)),
        largest_stack_bytes=FLOAT_BYTES * (rows * columns + state),
    )


def _names(algorithm: Algorithm, rows: int, columns: int) -> dict[str, Any]:
    """What the formulas are written in, see `Algorithm`."""
    longest = max(rows, columns)
    fits = algorithm.max_dim if isinstance(algorithm, MatrixAlgorithm) else longest
    sizes = {
        "m": rows,
        "n": columns,
        "d": min(rows, columns),
        "D": longest,
        "left": rows if rows <= fits else 0,
        "right": columns if columns <= fits else 0,
    }
    rank = getattr(algorithm, "rank", None)
    return dataclasses.asdict(algorithm) | sizes | {"r": rank, "min": min, "max": max}


def _value(formula: str, names: Mapping[str, Any]) -> float:
    return eval(formula, {"__builtins__": {}}, names)


def _state(algorithm: Algorithm, rows: int, columns: int) -> dict[str, int]:
    """Elements of the state of a matrix, by key; nothing is allocated."""
    state = algorithm.init(xp, torch.empty((1, rows, columns), device="meta"))
    return {key: array.numel() for key, array in state.items()}


def _orders(formula: str, names: Mapping[str, Any]) -> dict[str, int]:
    """The sides that a step's products act on, as its formula says, and their lengths."""
    used = compile(formula, "formula", "eval").co_names
    if "left" in used:
        both = {side: names[side] for side in ("left", "right") if names[side]}
        # A formula that changes nothing without its right side is one-sided.
        only_left = _value(formula, names) == _value(formula, {**names, "right": 0})
        return {"left": both["left"]} if only_left and "left" in both else both
    if "d" in used:
        return {"left" if names["m"] < names["n"] else "right": names["d"]}
    return {}


def _step_products(
    flops: float, orders: Mapping[str, int], rows: int, columns: int
) -> dict[Size, float]:
    products: dict[Size, float] = {}
    for side, order in orders.items():
        gram = (order, columns if side == "left" else rows, order)
        applied = (rows, rows, columns) if side == "left" else (rows, columns, columns)
        half = flops * order / sum(orders.values()) / 2
        products = _sum(products, _sum({gram: half}, {applied: half}))
    return products


def _refresh_products(flops: float, orders: Mapping[str, int]) -> dict[Size, float]:
    cubes: dict[Size, float] = {}
    for order in orders.values():
        share = flops * order**3 / sum(other**3 for other in orders.values())
        cubes = _sum(cubes, {(order, order, order): share})
    return cubes
