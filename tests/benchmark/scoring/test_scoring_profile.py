"""Ratios, performance profile and benchmark score."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmark.scoring import profile

TIMES = pd.DataFrame(
    {
        "w1": [100.0, 200.0, 401.0, math.inf],
        "w2": [80.0, 20.0, 80.0, 10.0],
        "w3": [math.inf] * 4,
        "w4": [5.0, math.inf, 5.0, 20.0],
    },
    index=["a", "b", "c", "d"],
)


def test_ratios_are_to_the_best_of_the_pool():
    ratios = profile.ratios_to_best(TIMES)
    assert ratios["w1"].tolist() == [1.0, 2.0, math.inf, math.inf]  # 4.01 is too slow
    assert ratios["w2"].tolist() == [math.inf, 2.0, math.inf, 1.0]
    assert ratios["w3"].tolist() == [math.inf] * 4  # reached by nobody
    assert ratios["w4"].tolist() == [1.0, math.inf, 1.0, 4.0]


def test_scores_by_hand():
    scores = profile.benchmark_scores(profile.ratios_to_best(TIMES))
    # Ratio 1 gives 1, 2 gives 2/3, 4 and more nothing; four workloads.
    assert scores.to_dict() == pytest.approx({"a": 0.5, "b": 1 / 3, "c": 0.25, "d": 0.25})


def test_profile_by_hand():
    rho = profile.performance_profile(profile.ratios_to_best(TIMES))
    assert rho.index.tolist() == [1.0, 2.0, 4.0]
    assert rho["a"].tolist() == [0.5, 0.5, 0.5]
    assert rho["b"].tolist() == [0.0, 0.5, 0.5]
    assert rho["d"].tolist() == [0.25, 0.25, 0.5]


def test_one_submission_alone_is_the_best_wherever_it_arrives():
    ratios = profile.ratios_to_best(TIMES.loc[["a"]])
    assert profile.benchmark_scores(ratios).tolist() == [0.75]


def test_nobody_reaches_anything():
    ratios = profile.ratios_to_best(TIMES[["w3"]])
    assert profile.benchmark_scores(ratios).tolist() == [0.0] * 4
    rho = profile.performance_profile(ratios)
    assert rho.index.tolist() == [1.0, 4.0]
    assert (rho == 0).all(axis=None)


def test_time_ratios():
    ratios = profile.time_ratios(TIMES, "b")
    assert ratios["w1"].tolist() == [0.5, 1.0, 2.005, math.inf]
    assert ratios["w2"].tolist() == [4.0, 1.0, 4.0, 0.5]
    assert ratios[["w3", "w4"]].isna().all(axis=None)  # the baseline did not reach them


reached = st.floats(1.0, 1e5)
times = st.lists(
    st.lists(st.one_of(reached, st.just(math.inf)), min_size=3, max_size=3), min_size=1, max_size=6
)


@given(times)
def test_the_closed_form_is_the_integral_of_the_profile(rows: list[list[float]]):
    ratios = profile.ratios_to_best(pd.DataFrame(rows))
    scores = profile.benchmark_scores(ratios)
    rho = profile.performance_profile(ratios)
    widths = np.diff(rho.index.to_numpy())
    for name in rho.columns:
        area = float((rho[name].to_numpy()[:-1] * widths).sum()) / 3
        assert scores[name] == pytest.approx(area, abs=1e-12)
        assert 0 <= scores[name] <= 1
        assert rho[name].is_monotonic_increasing


@given(times, st.floats(0.1, 10))
def test_scores_know_no_unit_of_time(rows: list[list[float]], factor: float):
    table = pd.DataFrame(rows)
    scores, scaled = (
        profile.benchmark_scores(profile.ratios_to_best(t)) for t in (table, table * factor)
    )
    # A ratio that rounding moves across 4 changes the score by rounding only.
    assert scaled.tolist() == pytest.approx(scores.tolist(), abs=1e-12)


@given(times)
def test_a_faster_time_never_lowers_the_score(rows: list[list[float]]):
    table = pd.DataFrame(rows)
    faster = table.copy()
    faster.iloc[0, 0] = min(table.iloc[0, 0], 50.0)
    before, after = (
        profile.benchmark_scores(profile.ratios_to_best(t))[0] for t in (table, faster)
    )
    assert after >= before - 1e-12


@pytest.mark.parametrize("integral", profile.INTEGRALS)
def test_the_best_on_everything_scores_1_and_who_arrives_nowhere_0(integral: profile.Integral):
    ratios = pd.DataFrame({"w1": [1.0, math.inf, 4.0], "w2": [1.0, math.inf, 4.0]})
    first, none, last = profile.benchmark_scores(ratios, integral)
    assert first == pytest.approx(1.0, abs=1e-12)
    assert none == 0.0
    # At a ratio of exactly 4 the profile jumps at its end: the 100 points see half a step of it.
    assert last == pytest.approx({"exact": 0.0, "grid100": 0.5 / 99}[integral], abs=1e-12)


def looped_grid(ratios: list[float]) -> float:
    """The trapezoid rule over 100 points of 1..4, term by term."""
    taus = [1 + 3 * i / 99 for i in range(100)]
    rho = [sum(r <= tau for r in ratios) / len(ratios) for tau in taus]
    return sum((rho[i] + rho[i + 1]) / 2 * (taus[i + 1] - taus[i]) for i in range(99)) / 3


def fine_sum(ratios: list[float], points: int = 30_000) -> float:
    """The profile's mean over 1..4 at so many midpoints; off by at most half a step per jump."""
    taus = 1 + 3 * (np.arange(points) + 0.5) / points
    return float(np.mean([(taus >= r).mean() for r in ratios]))


ratio = st.one_of(st.floats(1.0, 4.0), st.just(1.0), st.just(4.0), st.just(math.inf))
ratio_lists = st.lists(ratio, min_size=1, max_size=9)


@given(ratio_lists)
def test_the_exact_integral_is_what_a_fine_sum_tends_to(ratios: list[float]):
    exact = profile.benchmark_scores(pd.DataFrame([ratios]), "exact")[0]
    assert exact == pytest.approx(fine_sum(ratios), abs=0.5 / 30_000 + 1e-9)


@given(st.lists(st.one_of(st.floats(1.0, 4.0), st.just(math.inf)), min_size=1, max_size=9))
def test_grid100_is_the_trapezoid_rule(ratios: list[float]):
    # A ratio within rounding of a point of the grid may be counted on either side of it.
    grid = np.linspace(1.0, 4.0, 100)
    near = [r for r in ratios if 0 < np.abs(grid - r).min() < 1e-12]
    found = profile.benchmark_scores(pd.DataFrame([ratios]), "grid100")[0]
    assert found == pytest.approx(looped_grid(ratios), abs=1e-12 + len(near) / 99)


@example([np.nextafter(1 + 3 * 50 / 99, 4)])
@given(ratio_lists)
def test_the_two_integrals_differ_by_less_than_0_0051(ratios: list[float]):
    exact, grid = (
        profile.benchmark_scores(pd.DataFrame([ratios]), integral)[0]
        for integral in profile.INTEGRALS
    )
    assert abs(exact - grid) <= 0.0051


def test_the_bound_of_the_difference_is_nearly_taken():
    """Just beyond a point of the grid, half a step of it is lost."""
    table = pd.DataFrame([[1 + 3 * 50 / 99 + 1e-9]])
    exact, grid = (profile.benchmark_scores(table, integral)[0] for integral in profile.INTEGRALS)
    assert exact - grid == pytest.approx(0.00505, abs=5e-6)


@given(st.lists(ratio_lists.map(lambda row: (row * 3)[:3]), min_size=1, max_size=5))
def test_the_profile_counts_workloads(rows: list[list[float]]):
    ratios = pd.DataFrame(rows)
    rho = profile.performance_profile(ratios)
    taus = rho.index.to_numpy()
    assert taus[0] == 1.0
    assert taus[-1] == 4.0
    assert (np.diff(taus) > 0).all()
    for name in rho.columns:
        counts = [sum(r <= tau for r in rows[name]) / 3 for tau in taus]
        assert rho[name].tolist() == pytest.approx(counts)
    # Between two of the index nothing jumps.
    assert set(taus) >= {r for row in rows for r in row if r < math.inf}
