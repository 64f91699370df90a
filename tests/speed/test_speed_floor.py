"""The floor: sums of measured rates, rates of timed products, a worker that measures."""

import time

import pytest

from speed import floor
from speed.floor import FloorSetup, Rates
from speed.race import StepError, run_floor
from speed.work import Work

SETUP = FloorSetup("pytorch", "ogbg", 1, ((2, 3, 4), (5, 5, 5)), 100)


def test_sizes_are_those_of_all_works_once():
    works = [
        Work(products={(2, 3, 4): 1.0}, refresh_products={(5, 5, 5): 1.0}),
        Work(products={(2, 3, 4): 2.0, (1, 1, 1): 1.0}),
    ]
    assert floor.sizes(works) == ((1, 1, 1), (2, 3, 4), (5, 5, 5))


def test_the_array_is_of_the_lightest_contenders_bytes():
    heavy, light = Work(step_bytes=8 << 30), Work(step_bytes=8000)
    assert floor.numbers([heavy]) == floor.LARGE
    assert floor.numbers([heavy, light]) == 1000


def test_the_best_of_several_measurements_is_taken_for_each_size():
    found = floor.best(SETUP, [Rates([10.0, 30.0], 5.0), Rates([20.0, 25.0], 4.0)])
    assert found == ({(2, 3, 4): 20.0, (5, 5, 5): 30.0}, 5.0)


def test_the_floor_is_flops_over_rates_plus_bytes_over_bandwidth():
    work = Work(
        step_flops=1e9,  # not used: products say where they are spent
        products={(2, 3, 4): 40.0, (5, 5, 5): 60.0},
        refresh_products={(5, 5, 5): 300.0},
        largest_refresh={(5, 5, 5): 90.0},
        step_bytes=8,
        refresh_bytes=4,
    )
    found = floor.floor(work, {(2, 3, 4): 20.0, (5, 5, 5): 30.0}, 4.0)
    assert found.plain_s == pytest.approx(2 + 2 + 2)
    assert found.refresh_s == pytest.approx(10 + 1)
    assert found.largest_refresh_s == pytest.approx(3)
    assert found.amortised_s(10) == pytest.approx(6 + 1.1)


def test_a_call_is_timed_by_its_fastest_mean():
    pauses = iter([0.0, 0.01, 0.03, 0.01, 0.02])  # two before the timed ones
    assert floor.seconds(lambda: time.sleep(next(pauses))) == pytest.approx(0.01, rel=0.3)


def test_rates_count_a_multiply_add_as_two_and_every_matrix_of_a_batch(monkeypatch):
    batches = []

    def product(rows, inner, columns, batch):
        batches.append(batch)
        return lambda: time.sleep(0.02)

    fake = lambda: (product, lambda length: lambda: time.sleep(0.02 * (length == 1000)))  # noqa: E731
    monkeypatch.setattr(floor, "_pytorch", fake)
    monkeypatch.setattr(floor, "REPEATS", 1)
    found = floor.measure(FloorSetup("pytorch", "ogbg", 1, ((128, 128, 64),), 1000))
    assert sorted(batches) == [1, floor.CACHED_BYTES // (4 * 128 * 128)]
    assert found.flops[0] == pytest.approx(max(batches) * 2 * 128 * 128 * 64 / 0.02, rel=0.3)
    assert found.bandwidth == pytest.approx(2 * 4 * 1000 / 0.02, rel=0.3)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_a_worker_measures_every_size(framework: str):
    found = run_floor(FloorSetup(framework, "ogbg", 1, ((64, 32, 64), (64, 64, 32)), 10_000))
    assert len(found.flops) == 2
    # Any computer's, between a million and 10^15 operations a second.
    assert all(1e6 < rate < 1e15 for rate in found.flops)
    assert 1e6 < found.bandwidth < 1e13


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_products_are_of_the_size_that_is_asked_for(framework: str):
    product, _ = getattr(floor, f"_{framework}")()
    assert product(3, 5, 4, 2)().shape == (2, 3, 4)
    assert product(3, 5, 3, 2)().shape == (2, 3, 3)


def test_a_worker_that_fails_says_why_in_one_line():
    with pytest.raises(
        StepError, match=r"the floor of ogbg \(tensorflow\): .*'tensorflow'"
    ) as error:
        run_floor(FloorSetup("tensorflow", "ogbg", 1, (), 1))
    assert "\n" not in str(error.value)
