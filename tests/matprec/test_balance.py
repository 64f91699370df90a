"""Rows dealt out by cost: every one once, and loads as even as the dearest row allows."""

import array_api_compat.numpy as xp
import numpy as np
import pytest

from matprec import balance
from matprec import step as stepping
from matprec.algorithms.asgo import ASGO
from matprec.algorithms.muon import Muon
from matprec.algorithms.nadamw import NAdamW
from matprec.algorithms.shampoo import Shampoo
from matprec.algorithms.soap import SOAP

COSTS = [[8.0] * 3, [1.0] * 7, [27.0], [], [64.0, 64.0]]


@pytest.mark.parametrize("hands", [1, 2, 8, 50])
def test_dealing(hands):
    dealt = balance.deal(COSTS, hands)
    assert len(dealt) == hands
    for number, stack in enumerate(COSTS):
        assert sorted(row for hand in dealt for row in hand[number]) == list(range(len(stack)))
    loads = [
        sum(COSTS[number][row] for number, rows in enumerate(hand) for row in rows)
        for hand in dealt
    ]
    assert max(loads) - min(loads) <= 64


def test_the_dearest_go_first():
    """3 + 2 and 2 + 3, not 3 + 3 and 2 + 2."""
    assert balance.deal([[2.0, 2.0], [3.0, 3.0]], 2) == [[[0], [0]], [[1], [1]]]


def test_dealing_goes_on_from_what_hands_have():
    assert balance.deal([[1.0] * 3], 3, [2.0, 0.0, 1.0]) == [[[]], [[0, 1]], [[2]]]


def test_phases_spread_what_costs_over_the_period():
    found = balance.phases([1.0, 0.0, 4.0], [7, 2, 3], 4)
    assert [len(rows) for rows in found] == [7, 2, 3]
    loads = np.zeros(4)
    for cost, rows in zip([1.0, 0.0, 4.0], found, strict=True):
        np.add.at(loads, rows, cost)
    assert (loads.max(), loads.min()) == (5, 4)
    assert balance.phases([5.0], [1], 1) == [[0]]


def test_costs_are_those_of_the_sides_that_are_refreshed():
    grads = np.zeros((3, 4, 6))
    states = {a: stepping.init(xp, a, grads) for a in (Shampoo(), SOAP(), NAdamW())}
    found = [balance.cost(algorithm, state) for algorithm, state in states.items()]
    assert found[0] == 4**3 + 6**3
    assert found[1] > found[0]  # the moments are turned too
    assert found[2] == 0
    one_sided = SOAP(max_dim=5)
    assert balance.cost(one_sided, stepping.init(xp, one_sided, grads)) < found[1]


def step_cost(algorithm, shape):
    return balance.step_cost(algorithm, algorithm.init(xp, np.zeros((1, *shape))), shape)


def test_a_step_costs_its_elements_and_products_and_a_share_of_the_refresh():
    size = 40 * 60
    never = Shampoo(refresh_every=10**12)
    assert step_cost(never, (40, 60)) == pytest.approx(size * (100 + 2 * (40 + 60)))
    refresh = step_cost(Shampoo(refresh_every=1), (40, 60)) - step_cost(never, (40, 60))
    assert refresh == pytest.approx(6 * (40**3 + 60**3))
    tenth = step_cost(Shampoo(refresh_every=10), (40, 60)) - step_cost(never, (40, 60))
    assert tenth == pytest.approx(refresh / 10)
    one_sided = Shampoo(refresh_every=10**12, max_dim=50)
    assert step_cost(one_sided, (40, 60)) == pytest.approx(size * (100 + 2 * 40))


def test_a_step_without_kept_factors_takes_the_shorter_side():
    assert step_cost(Muon(), (40, 60)) == 40 * 60 * (100 + 2 * 40)
    assert step_cost(NAdamW(), (1, 1000)) == 1000 * 102


@pytest.mark.parametrize("cls", [Shampoo, SOAP, ASGO, Muon], ids=lambda cls: cls.__name__)
def test_the_longer_matrix_is_the_dearer_one(cls):
    costs = [step_cost(cls(), shape) for shape in [(8, 8), (8, 16), (16, 16), (16, 64), (64, 64)]]
    assert costs == sorted(set(costs))
