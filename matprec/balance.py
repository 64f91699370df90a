"""Dealing out the matrices of stacks by what their refresh costs: over devices, and over steps."""

from collections.abc import Sequence

from matprec.algorithms.base import Algorithm, State


def cost(algorithm: Algorithm, state: State) -> float:
    """Of the refresh of one matrix of a stack, in multiplications but for a factor.

    Decompositions and products take the cube of a side; what a refresh changes shows the sides.
    """
    shapes = [state[key].shape[1:] for key in algorithm.refreshed_keys(state)]
    return float(sum(m * n * min(m, n) for m, n in (s for s in shapes if len(s) == 2)))


def deal(costs: Sequence[Sequence[float]], hands: int) -> list[list[list[int]]]:
    """Which rows of which stack each hand gets, from the costs of every stack's rows.

    The dearest row goes first, each to the hand with the least so far, the first such one.
    """
    dealt: list[list[list[int]]] = [[[] for _ in costs] for _ in range(hands)]
    loads = [0.0] * hands
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
