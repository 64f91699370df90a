"""The rules of v0.5 on held-out workloads and the cut at 4 times the best, against a plain
re-statement of them, one entry at a time."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmark.scoring import profile

INF, NAN = math.inf, math.nan

Times = dict[str, dict[str, float]]


def by_the_rules(times: Times, variants: dict[str, str]) -> Times:
    """The times of base workloads that get credit, by submission and workload; inf: none."""
    workloads = list(next(iter(times.values())))
    t = {s: {w: INF if math.isnan(times[s][w]) else times[s][w] for w in workloads} for s in times}
    for s in t:  # a variant counts only where its base workload was reached
        for variant, base in variants.items():
            if t[s][base] == INF:
                t[s][variant] = INF
    best = {w: min(t[s][w] for s in t) for w in workloads}
    for s in t:  # nothing counts beyond 4 times the best
        for w in workloads:
            if t[s][w] > 4 * best[w]:
                t[s][w] = INF
    for s in t:  # a base workload counts only with all of its variants
        for variant, base in variants.items():
            if t[s][variant] == INF:
                t[s][base] = INF
    return {s: {w: t[s][w] for w in workloads if w not in variants} for s in t}


def scores_by_the_rules(credit: Times) -> dict[str, float]:
    workloads = list(next(iter(credit.values())))
    best = {w: min(credit[s][w] for s in credit) for w in workloads}
    scores = {}
    for s in credit:
        total = 0.0
        for w in workloads:
            if credit[s][w] < INF:
                total += max(0.0, (4 - credit[s][w] / best[w]) / 3)
        scores[s] = total / len(workloads)
    return scores


# Small whole numbers make ties and ratios of exactly 4 common.
time = st.one_of(st.integers(1, 16).map(float), st.floats(0.1, 1e6), st.just(INF), st.just(NAN))


@st.composite
def pools(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, str]]:
    columns = ["base", "other", "lone"]
    variants = draw(
        st.dictionaries(st.sampled_from(["v", "w", "x"]), st.sampled_from(columns), max_size=3)
    )
    columns = draw(st.permutations([*columns, *variants]))
    rows = draw(
        st.lists(
            st.lists(time, min_size=len(columns), max_size=len(columns)), min_size=1, max_size=6
        )
    )
    index = [f"s{i}" for i in range(len(rows))]
    return pd.DataFrame(rows, index=index, columns=columns), variants


def as_times(table: pd.DataFrame) -> Times:
    return {
        str(name): {str(key): float(value) for key, value in row.items()}
        for name, row in table.iterrows()
    }


# The best one on the variant failed the base; a ratio of exactly 4 and one beyond.
@example(
    (
        pd.DataFrame(
            {"base": [100.0, INF, 400.0, 401.0], "held": [80.0, 10.0, 50.0, NAN]},
            index=["a", "b", "c", "d"],
        ),
        {"held": "base"},
    )
)
@given(pools())
def test_the_gates_are_the_written_rules(pool: tuple[pd.DataFrame, dict[str, str]]):
    times, variants = pool
    before = times.copy()
    credit, why = profile.apply_gates(times, variants)
    assert as_times(credit) == by_the_rules(as_times(times), variants)
    assert times.equals(before)
    # A reason where there is no credit and nowhere else.
    assert ((why == "") == np.isfinite(credit)).all(axis=None)
    assert list(why.columns) == list(credit.columns)


@given(pools())
def test_scores_are_the_mean_of_what_each_workload_gives(
    pool: tuple[pd.DataFrame, dict[str, str]],
):
    credit, _ = profile.apply_gates(*pool)
    scores = profile.benchmark_scores(profile.ratios_to_best(credit))
    wanted = scores_by_the_rules(by_the_rules(as_times(pool[0]), pool[1]))
    assert scores.to_dict() == pytest.approx(wanted, abs=1e-12)


def gates(base: list[float], held: list[float]) -> tuple[list[float], list[str]]:
    credit, why = profile.apply_gates(pd.DataFrame({"base": base, "held": held}), {"held": "base"})
    return credit["base"].tolist(), why["base"].tolist()


@pytest.mark.parametrize(
    ("base", "held", "credit", "why"),
    [
        ([10, 20], [10, 20], [10, 20], ["", ""]),
        ([10, INF], [10, 20], [10, INF], ["", "not reached"]),
        ([10, NAN], [10, 20], [10, INF], ["", "not reached"]),
        ([10, 40], [10, 40], [10, 40], ["", ""]),
        ([10, 41], [10, 10], [10, INF], ["", "over 4 times the best"]),
        ([10, 10], [10, 41], [10, INF], ["", "held over 4 times the best"]),
        ([10, 10], [10, INF], [10, INF], ["", "held not reached"]),
        ([10, 10], [10, NAN], [10, INF], ["", "held not reached"]),
        ([10, 41], [10, 41], [10, INF], ["", "over 4 times the best"]),  # its own reason first
        # The fastest on the base missed the variant: the cut is by it, the ratio is not.
        ([10, 41], [INF, 10], [INF, INF], ["held not reached", "over 4 times the best"]),
        ([10, 40], [INF, 10], [INF, 40], ["held not reached", ""]),
        # Beyond 4 times on the base, the fastest on the variant still sets its best.
        ([10, 41], [41, 10], [INF, INF], ["held over 4 times the best", "over 4 times the best"]),
        # Who missed the base sets no best on the variant.
        ([10, INF], [41, 10], [10, INF], ["", "not reached"]),
    ],
)
def test_gates_by_hand(base: list[float], held: list[float], credit: list[float], why: list[str]):
    assert gates(base, held) == (credit, why)


def test_the_ratio_is_to_the_best_that_still_counts():
    credit, _ = profile.apply_gates(
        pd.DataFrame({"base": [10.0, 20.0, 40.0], "held": [INF, 1.0, 1.0]}), {"held": "base"}
    )
    assert profile.ratios_to_best(credit)["base"].tolist() == [INF, 1.0, 2.0]


def test_without_variants_only_the_cut_remains():
    times = pd.DataFrame({"one": [10.0, 40.0, 40.1, INF], "two": [NAN] * 4})
    credit, why = profile.apply_gates(times, {})
    assert credit.to_dict("list") == {"one": [10.0, 40.0, INF, INF], "two": [INF] * 4}
    assert why["two"].tolist() == ["not reached"] * 4


def test_all_of_several_variants_are_gates():
    times = pd.DataFrame({"base": [1.0, 1.0, 1.0], "v": [1.0, INF, 1.0], "w": [1.0, 1.0, 5.0]})
    credit, why = profile.apply_gates(times, {"v": "base", "w": "base"})
    assert credit["base"].tolist() == [1.0, INF, INF]
    assert why["base"].tolist() == ["", "v not reached", "w over 4 times the best"]
