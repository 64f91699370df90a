"""Dealing out matrices and tensors by what they cost: over devices, and refreshes over steps."""

import math
from collections.abc import Sequence
from typing import Any

from matprec.algorithms.base import Algorithm, State

# Multiplications in matrix products that take as long as elementwise work on one element does, with
# its moments: from a hundred to several hundred on CPUs and GPUs.
_ELEMENT = 100
# Multiplications of an eigendecomposition and a root, in cubes of a side.
_DECOMPOSITION = 6


def step_cost(algorithm: Algorithm, state: State, shape: Sequence[int]) -> float:
    """Of a step of one matrix of `shape`, its refreshes spread over their period, in
    multiplications: an estimate, for comparing matrices with each other.

    A gradient goes into the statistics of a side, and is multiplied by its root or basis: the
    square arrays in the state show which sides these are. Where there are none, iterations like
    Muon's take the shorter one. Rows of elementwise methods, (1, k), come out at their length.
    """
    squares = {array.shape[1] for array in state.values() if _is_square(array)}
    sides = max(sum(side for side in shape if side in squares), min(shape))
    period: int = getattr(algorithm, "refresh_every", 1)
    refresh = _DECOMPOSITION * cost(algorithm, state) / period
    return float(math.prod(shape) * (_ELEMENT + 2 * sides) + refresh)


def _is_square(array: Any) -> bool:
    """Whether a stack (B, k, k)."""
    return len(array.shape) == 3 and array.shape[1] == array.shape[2]


def cost(algorithm: Algorithm, state: State) -> float:
    """Of the refresh of one matrix of a stack, in multiplications but for a factor.

    Decompositions and products take the cube of a side; what a refresh changes shows the sides.
    """
    shapes = [state[key].shape[1:] for key in algorithm.refreshed_keys(state)]
    return float(sum(m * n * min(m, n) for m, n in (s for s in shapes if len(s) == 2)))


def deal(
    costs: Sequence[Sequence[float]], hands: int, loads: Sequence[float] | None = None
) -> list[list[list[int]]]:
    """Which rows of which stack each hand gets, from the costs of every stack's rows.

    The dearest row goes first, each to the hand with the least so far, the first such one. `loads`
    is what each hand has already, nothing by default.
    """
    dealt: list[list[list[int]]] = [[[] for _ in costs] for _ in range(hands)]
    loads = [0.0] * hands if loads is None else list(loads)
    rows = [
        (cost, number, row) for number, stack in enumerate(costs) for row, cost in enumerate(stack)
    ]
    for cost_, number, row in sorted(rows, key=lambda entry: -entry[0]):
        hand = min(range(hands), key=loads.__getitem__)
        loads[hand] += cost_
        dealt[hand][number].append(row)
    return dealt


def phases(costs: Sequence[float], sizes: Sequence[int], period: int) -> list[list[int]]:
    """In which step of a period, from 0, every row of every stack is refreshed.

    Args:
      costs: per stack, of each of its rows; 0 for stacks without refreshes.
      sizes: per stack, how many rows it has.
      period: number of steps.
    """
    found = [[0] * size for size in sizes]
    dealt = deal([[c] * size for c, size in zip(costs, sizes, strict=True)], period)
    for step, hand in enumerate(dealt):
        for number, rows in enumerate(hand):
            for row in rows:
                found[number][row] = step
    return found
