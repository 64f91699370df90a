"""Files without any problem are read at once: as row by row, and no others."""

import math
import random

import numpy as np
import pytest
from log_trees import METRIC

from benchmark.scoring import evals

HEADER = ["accumulated_compile_time", "global_step", "preemption_count", "score"]
HEADER += [f"validation/{METRIC}", "validation/loss"]
# What may stand in a cell instead of a number, or beside one.
ODD = [
    "",
    "nan",
    "inf",
    "-inf",
    "x",
    "1_0",
    "0x10",
    '"1"',
    "1 2",
    "\u0661",
    "1e999",
    "-5",
    "0",
    "+1",
]
ODD += [" 7 ", "1.", ".5", "1e5", "infinity", "nan(1)", "1,2", "1;2", "\0", "1\t", "0.1.2", "--1"]


def lines_of(chance: random.Random, rows: int, compiled: bool) -> list[str]:
    header = HEADER if compiled else HEADER[1:]
    lines = [",".join(header)]
    step, time = 0, 0.0
    for _ in range(rows):
        step += chance.randrange(1, 1000)
        time += chance.random() * 10 ** chance.randrange(-3, 6)
        numbers = [1.5, step, 0, time, chance.gauss(0, 1), chance.random()]
        lines.append(",".join(map(repr, numbers[-len(header) :])))
    return lines


def row_by_row(lines: list[str]) -> tuple[np.ndarray, dict]:
    header = lines[0].split(",")
    found, problems = evals._evaluations(lines, evals._splitter("\n".join(lines)), header, METRIC_)
    return np.array(found).reshape(-1, len(evals.COLUMNS)), problems


METRIC_ = f"validation/{METRIC}"


def at_once(lines: list[str]) -> np.ndarray | None:
    return evals._all_at_once(lines, lines[0].split(","), METRIC_)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 60])
def test_clean_files_are_read_at_once_and_to_the_bit(rows: int, compiled: bool):
    for seed in range(20):
        lines = lines_of(random.Random(seed), rows, compiled)
        table = at_once(lines)
        assert table is not None
        expected, problems = row_by_row(lines)
        assert problems == {}
        np.testing.assert_array_equal(table, expected)
        assert math.isnan(table[0, 3]) == (not compiled)


def test_what_is_read_at_once_has_no_problem_row_by_row():
    """Cells replaced by odd ones, rows cut, repeated, exchanged, left out."""
    chance = random.Random(1)
    taken = 0
    for _ in range(4000):
        lines = lines_of(chance, chance.randrange(1, 6), chance.random() < 0.5)
        for _ in range(chance.randrange(1, 3)):
            row = chance.randrange(1, len(lines))
            cells = lines[row].split(",")
            mutation = chance.randrange(6)
            if mutation < 3:
                cells[chance.randrange(len(cells))] = chance.choice(ODD)
                lines[row] = ",".join(cells)
            elif mutation == 3:
                lines[row] = ",".join(cells[: chance.randrange(len(cells))])
            elif mutation == 4:
                lines.insert(chance.randrange(1, len(lines)), lines[row])
            else:
                other = chance.randrange(1, len(lines))
                lines[row], lines[other] = lines[other], lines[row]
        table = at_once(lines)
        if table is not None:
            taken += 1
            expected, problems = row_by_row(lines)
            assert problems == {}, lines
            np.testing.assert_array_equal(table, expected)
    # Odd numbers in columns that do not matter, and rows exchanged with themselves.
    assert 100 < taken < 2000


@pytest.mark.parametrize("place", range(1, 6))
@pytest.mark.parametrize("odd", ["", "nan", "inf", "x", "1_0", "0x10", '"1"'])
def test_a_file_with_an_odd_cell_that_matters_is_not(place: int, odd: str):
    lines = lines_of(random.Random(0), 5, compiled=True)
    for column in (1, 3, 4):
        cells = lines[place].split(",")
        cells[column] = odd
        assert at_once([*lines[:place], ",".join(cells), *lines[place + 1 :]]) is None
