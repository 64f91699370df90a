"""How many times faster than a baseline, over which workloads, with which spread."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_trees import BUDGET, gold, hits_at, race, trial_dir, write_trial

from benchmark.scoring import Scores, score_tree
from benchmark.scoring.speedups import resampled_medians, speedups
from benchmark.scoring.targets import Target
from benchmark.scoring.time_to_target import Mode
from workloads_overrides.targets import load_pool

INF, NAN = math.inf, math.nan

Studies = dict[tuple[str, str], Sequence[float]]


def table(studies: Studies, budget: float = 100.0, baseline: str = "base") -> pd.DataFrame:
    """The speed-ups over `baseline` of entries with these times of studies, by submission."""
    medians = pd.Series({entry: np.median(times) for entry, times in studies.items()})
    times = medians.unstack().sort_index()
    targets = {name: Target(name, "accuracy", 0.5, budget) for name in times.columns}
    found = speedups(times, resampled_medians(studies), targets, [baseline])
    return found.set_index("submission")


def test_a_speedup_is_the_baselines_time_by_the_submissions():
    found = table({("base", "w"): [60.0], ("fast", "w"): [20.0], ("slow", "w"): [90.0]})
    assert found["over_all"].to_dict() == pytest.approx({"base": 1, "fast": 3, "slow": 2 / 3})
    assert found["over_both"].equals(found["over_all"])
    assert (found["num_both"] == 1).all()
    assert (found["baseline"] == "base").all()


def test_over_several_workloads_it_is_the_geometric_mean():
    found = table(
        {
            ("base", "v"): [60.0],
            ("base", "w"): [60.0],
            ("a", "v"): [30.0],
            ("a", "w"): [7.5],
        }
    )
    assert found.loc["a", "over_all"] == pytest.approx(4.0)  # of 2 and 8


def test_a_miss_is_the_budget_plus_one_second_over_all_and_left_out_over_both():
    found = table(
        {
            ("base", "v"): [50.0],
            ("base", "w"): [60.0],
            ("base", "x"): [INF],
            ("base", "y"): [INF],
            ("a", "v"): [25.0],
            ("a", "w"): [INF],
            ("a", "x"): [20.0],
            ("a", "y"): [INF],
        }
    )
    row = found.loc["a"]
    assert (row["over_both"], row["num_both"]) == (pytest.approx(2.0), 1)
    assert row["over_all"] == pytest.approx((50 / 25 * 60 / 101 * 101 / 20 * 1) ** (1 / 4))


def test_nothing_reached_by_both():
    row = table({("base", "w"): [INF], ("a", "w"): [10.0]}).loc["a"]
    assert math.isnan(row["over_both"])
    assert row["num_both"] == 0
    assert row["over_all"] == pytest.approx(101 / 10)


def test_no_logs_are_a_miss():
    times = pd.DataFrame({"w": [50.0, NAN]}, index=["base", "a"])
    medians = resampled_medians({("base", "w"): [50.0], ("a", "w"): []})
    found = speedups(times, medians, {"w": Target("w", "accuracy", 0.5, 100.0)}, ["base"])
    row = found.set_index("submission").loc["a"]
    assert row["over_all"] == row["low"] == row["high"] == pytest.approx(50 / 101)
    assert row["num_both"] == 0


def test_without_a_budget_a_miss_cannot_be_counted():
    found = table(
        {
            ("base", "v"): [60.0],
            ("base", "w"): [60.0],
            ("a", "v"): [30.0],
            ("a", "w"): [INF],
            ("b", "v"): [30.0],
            ("b", "w"): [30.0],
        },
        budget=NAN,
    )
    a, b = found.loc["a"], found.loc["b"]
    assert np.isnan([a["over_all"], a["low"], a["high"]]).all()
    assert (a["over_both"], a["num_both"]) == (pytest.approx(2.0), 1)
    # Where nothing is missed none is needed.
    assert [b["over_all"], b["low"], b["high"]] == pytest.approx([2.0] * 3)


def test_baselines_that_are_not_there_are_left_out():
    times = pd.DataFrame({"w": [50.0, 25.0]}, index=["a", "b"])
    medians = resampled_medians({("a", "w"): [50.0], ("b", "w"): [25.0]})
    targets = {"w": Target("w", "accuracy", 0.5)}
    found = speedups(times, medians, targets, ["nobody", "b", "a"])
    assert found[["baseline", "submission"]].to_numpy().tolist() == [
        ["b", "a"],
        ["b", "b"],
        ["a", "a"],
        ["a", "b"],
    ]
    none = speedups(times, medians, targets, [])
    assert len(none) == 0
    assert list(none.columns) == list(found.columns)


def test_one_study_has_no_spread():
    found = table({("base", "w"): [60.0], ("a", "w"): [17.0], ("b", "w"): [INF]})
    for _, row in found.iterrows():
        assert row["low"] == row["high"] == pytest.approx(row["over_all"], rel=1e-12)


def test_the_interval_of_equal_studies_is_a_point():
    row = table({("base", "w"): [60.0] * 3, ("a", "w"): [20.0] * 5}).loc["a"]
    assert (row["low"], row["high"]) == pytest.approx((3.0, 3.0))


def test_the_interval_by_hand():
    """Three studies: a resampled median is the middle one 13 times of 27, each other one 7 times,
    so both ends lie in the 95 %."""
    row = table({("base", "w"): [60.0], ("a", "w"): [10.0, 20.0, 30.0]}).loc["a"]
    assert (row["low"], row["over_all"], row["high"]) == pytest.approx((2.0, 3.0, 6.0))


@pytest.mark.parametrize(("studies", "ends"), [(5, (1, 5)), (7, (2, 6))])
def test_how_wide_95_percent_are(studies: int, ends: tuple[int, int]):
    """Of 5 studies the resampled median is the last one in 5.8 % of draws, of 7 in 1.0 %, and the
    last or the one before in 9.9 %: ends beyond 2.5 %, the first and third of these, are in."""
    row = table({("base", "w"): [60.0], ("a", "w"): [float(i + 1) for i in range(studies)]}).loc[
        "a"
    ]
    assert (60 / row["high"], 60 / row["low"]) == pytest.approx(ends)


def test_entries_are_drawn_apart():
    """Else the luck of one would be that of all, and ratios to each other would not spread."""
    times = [10.0, 20.0, 30.0, 40.0, 50.0]
    names = [("a", "w"), ("b", "w"), ("a", "v")]
    first, second, third = resampled_medians(dict.fromkeys(names, times)).values()
    for one, other in ((first, second), (first, third), (second, third)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


def test_the_share_of_resampled_medians():
    (medians,) = resampled_medians({("a", "w"): [10.0, 20.0, 30.0]}).values()
    counts = {value: (medians == value).mean() for value in (10.0, 20.0, 30.0)}
    assert counts == pytest.approx({10.0: 7 / 27, 20.0: 13 / 27, 30.0: 7 / 27}, abs=0.04)


def test_resampled_medians_that_are_mostly_misses():
    (medians,) = resampled_medians({("a", "w"): [10.0, INF, INF]}).values()
    assert set(medians) == {10.0, INF}
    (medians,) = resampled_medians({("a", "w"): []}).values()
    assert np.isinf(medians).all()


some_times = st.lists(st.one_of(st.floats(1, 100), st.just(INF)), min_size=1, max_size=5)


@given(some_times, some_times)
def test_on_one_workload_the_interval_holds_the_point(base: list[float], other: list[float]):
    row = table({("base", "w"): base, ("a", "w"): other}).loc["a"]
    assert row["low"] <= row["over_all"] * (1 + 1e-12)
    assert row["high"] >= row["over_all"] * (1 - 1e-12)


def test_over_many_workloads_the_interval_holds_the_point():
    """Spreads to one side only do not average out: each workload's resampled median can but be
    slower than the median that counts."""
    names = [f"w{i}" for i in range(9)]
    studies: Studies = {("base", name): [90.0, 90.0, 10.0] for name in names}
    studies |= {("a", name): [10.0, 10.0, 90.0] for name in names}
    row = table(studies).loc["a"]
    assert row["low"] <= row["over_all"] <= row["high"]


def two_workloads(root: Path) -> Path:
    hits = {"adamw": [4, 5, 3], "shampoo": [2, 3, 2], "asgo": [1, 99, 2], "soap": [3, 3, 1]}
    race(root, hits, "one")
    race(root, {name: times[::-1] for name, times in hits.items()}, "two")
    return root


def spread(scores: Scores, submission: str) -> list[float]:
    rows = scores.speedups.set_index(["baseline", "submission"])
    entry = scores.table.set_index(["submission", "workload"]).loc[(submission, "one")]
    return [
        *rows.loc[("adamw", submission), ["over_both", "over_all", "low", "high"]],
        *entry[["ratio_to_adamw", "low_to_adamw", "high_to_adamw"]],
    ]


@pytest.mark.parametrize("mode", ["fastest", "official"])
def test_the_interval_does_not_depend_on_who_else_is_there(tmp_path: Path, mode: Mode):
    root = two_workloads(tmp_path)
    whole = score_tree(root, baselines=("adamw",), mode=mode)
    again = score_tree(root, baselines=("adamw",), mode=mode)
    assert whole.speedups.equals(again.speedups)
    part = score_tree(root, baselines=("adamw",), mode=mode, submissions=["adamw", "asgo"])
    both = score_tree(root, baselines=("shampoo", "adamw"), mode=mode)
    wanted = spread(whole, "asgo")
    assert wanted[2] < wanted[3]
    assert spread(part, "asgo") == spread(both, "asgo") == wanted


def test_ratios_of_one_workload(tmp_path: Path):
    race(tmp_path, {"adamw": [4, 4, 4], "asgo": [1, 2, 99], "none": [99, 99, 99]})
    rows = score_tree(tmp_path, baselines=("adamw",)).table.set_index("submission")
    assert rows["ratio_to_adamw"].to_dict() == {"asgo": 0.5, "adamw": 1.0, "none": INF}
    low, high = rows.loc["asgo", ["low_to_adamw", "high_to_adamw"]]
    assert (low, high) == (0.25, (BUDGET + 1) / 40)


def test_a_ratio_lies_in_its_interval_or_neither_is_there(tmp_path: Path):
    race(tmp_path, {"adamw": [2, 3], "asgo": [1, 2], "none": [99, 99]}, "one")
    race(tmp_path, {"adamw": [99, 99], "asgo": [1, 2], "none": [99, 99]}, "two")
    for row in score_tree(tmp_path, baselines=("adamw",)).table.to_dict("records"):
        low, point, high = (row[f"{name}_to_adamw"] for name in ("low", "ratio", "high"))
        assert math.isnan(point) == math.isnan(low) == math.isnan(high)
        assert math.isnan(point) or low <= point <= high


def test_speedups_are_over_base_workloads(tmp_path: Path):
    for name, hit in (("a", 1), ("b", 2)):
        write_trial(trial_dir(tmp_path, name, "ogbg"), hits_at(hit))
        write_trial(trial_dir(tmp_path, name, "ogbg_gelu"), hits_at(3 - hit))
    scores = score_tree(tmp_path, baselines=("a",))
    assert scores.variants == {"ogbg_gelu": "ogbg"}
    found = scores.speedups.set_index("submission")["over_all"].to_dict()
    assert found == {"a": 1.0, "b": 0.5}


def gold_ratios(name: str, baseline: str) -> dict[str, float | None]:
    """Geometric means of t / t_baseline, as AlgoPerf's compute_speedups.py has them."""
    content = json.loads((gold() / name / "expected.json").read_text())
    return content[f"geomean_time_ratio_vs_{baseline}"]["values"]


def check_gold(found: pd.DataFrame, wanted: dict[str, float | None]) -> None:
    over_all = found.set_index("submission")["over_all"].to_dict()
    known = {name: value for name, value in wanted.items() if value is not None}
    assert known
    for name, value in known.items():
        assert 1 / over_all[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize(
    ("name", "version", "baseline", "mode"),
    [
        ("v05_external", "v0.5", "baseline", "official"),
        ("a100_self", "2026", "nadamw_baselinev05", "fastest"),
    ],
)
def test_equals_the_official_speedups(name: str, version: str, baseline: str, mode: Mode):
    wanted = gold_ratios(name, baseline)
    for targets in (None, version):
        logs = gold() / name / "logs"
        scores = score_tree(logs, targets=targets, baselines=(baseline,), mode=mode)
        check_gold(scores.speedups, wanted)


def test_equals_the_official_speedup_of_v06_with_the_budgets_of_v05():
    """AlgoPerf's script takes these budgets for all versions."""
    scores = score_tree(gold() / "v06_external" / "logs", baselines=("baseline",), mode="official")
    budgets = load_pool("v0.5").max_allowed_runtime_sec
    targets = {
        name: replace(target, budget=budgets[name]) for name, target in scores.targets.items()
    }
    times = scores.by_workload("time_to_target")
    studies = {
        (submission, workload): [time]
        for submission, row in times.to_dict("index").items()
        for workload, time in row.items()
    }
    found = speedups(times, resampled_medians(studies), targets, ["baseline"])
    check_gold(found, gold_ratios("v06_external", "baseline"))
    # The version's own budgets, where one of the two missed a target, give another figure.
    assert not found["over_all"].equals(scores.speedups["over_all"])
