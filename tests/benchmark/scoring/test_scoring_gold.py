"""Against numbers that were computed by others from the same logs: times to 1e-9, scores to 1e-9.

`official_sorted` is what AlgoPerf's own script gives, with directories listed in sorted order;
`rules_reading` (edge cases: `rules`) an independent computation of the written rules.
"""

import functools
import itertools
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import log_trees
import pytest
from log_trees import gold

from benchmark.scoring import MODES, Scores, score_tree
from benchmark.scoring.time_to_target import Mode

SETS = ["v05_external", "v06_external", "a100_self"]
EDGE_CASES = [
    "edge_cases/e01_plain_ratios",
    "edge_cases/e02_first_eval_hit",
    "edge_cases/e03_equality",
    "edge_cases/e04_nan_metric",
    "edge_cases/e05_missing_study",
    "edge_cases/e06_missing_workload",
    "edge_cases/e07_row_vs_time",
    "edge_cases/e08_row_tie",
    "edge_cases/e09_nobody_reaches",
    "edge_cases/e10_heldout_gate",
]
VERSIONS = {"v05_external": "v0.5", "v06_external": "v0.6", "a100_self": "2026"}


@functools.cache
def read(name: str, **kwargs: Any) -> Scores:
    """Its scores; nobody changes them, and most tests ask for the same."""
    return read_again(name, **kwargs)


def read_again(name: str, **kwargs: Any) -> Scores:
    folder = gold() / name
    targets = kwargs.pop("targets", folder / "workload_targets.json")
    return score_tree(folder / "logs", baselines=(), targets=targets, **kwargs)


def expected(name: str, mode: Mode) -> dict[str, Any]:
    """`times` and the scores by integral, of both kinds of `expected.json`."""
    content = json.loads((gold() / name / "expected.json").read_text())
    if mode == "official":
        told = content["official_sorted"]
        scores = {"grid100": told["scores"]}
    else:
        told = content.get("rules_reading") or content["rules"]
        scores = {"exact": told["scores_exact_integral"], "grid100": told["scores_100pt_grid"]}
    times = told.get("time_to_target_s") or told["time_to_target"]
    return {"times": times, "scores": scores}


def check_times(scores: Scores, wanted: dict[str, dict[str, float | str | None]]) -> None:
    times = scores.by_workload("time_to_target")
    assert set(times.index) == set(wanted)
    for submission, by_workload in wanted.items():
        assert set(times.columns) == set(by_workload)
        for workload, value in by_workload.items():
            # No logs: the script has no time; by the rules what is absent is not reached.
            absent = math.nan if scores.mode == "official" else math.inf
            time = absent if value is None else float(value)
            got = times.at[submission, workload]
            assert got == pytest.approx(time, rel=1e-9, nan_ok=True), (submission, workload)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*SETS, *EDGE_CASES])
def test_equals_the_gold_numbers(name: str, mode: Mode):
    wanted = expected(name, mode)
    for integral, scores in wanted["scores"].items():
        got = read(name, mode=mode, integral=integral)
        check_times(got, wanted["times"])
        assert got.scores == pytest.approx(scores, abs=1e-9)
        assert list(got.scores) == sorted(scores, key=lambda name: (-got.scores[name], name))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*SETS, *EDGE_CASES])
def test_without_a_targets_file_the_logs_tell_as_much(name: str, mode: Mode):
    """The logs of the edge cases name no targets: those are AlgoPerf's own."""
    with_file, without = read(name, mode=mode), read(name, mode=mode, targets=None)
    assert without.scores == pytest.approx(with_file.scores, abs=1e-12)
    assert without.variants == with_file.variants
    if name in SETS:
        check_times(without, expected(name, mode)["times"])


@pytest.mark.parametrize("name", SETS)
def test_the_versions_known_here_are_those_of_the_gold_sets(name: str):
    scores = read(name, targets=VERSIONS[name])
    assert scores.targets.keys() == read(name).targets.keys()
    check_times(scores, expected(name, "fastest")["times"])
    wanted = expected(name, "fastest")["scores"]["exact"]
    assert scores.scores == pytest.approx(wanted, abs=1e-9)


def test_published_scores_of_v06():
    """https://mlcommons.org/benchmarks/algorithms, external tuning, 2025."""
    scores = read("v06_external", integral="grid100").scores
    assert {name: round(score, 4) for name, score in scores.items()} == {
        "shampoo": 0.6244,
        "baseline": 0.4590,
    }


@pytest.mark.parametrize("name", [*SETS, *EDGE_CASES])
def test_shuffled_listings_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch):
    """AlgoPerf's own script gives shampoo 841 or 641 s on fastmri, as the file system pleases."""
    before = {mode: read(name, mode=mode) for mode in MODES}
    listing, chance = os.listdir, random.Random(0)

    def forwards(path: Any = ".") -> list[Any]:
        return sorted(listing(path))

    def backwards(path: Any = ".") -> list[Any]:
        return sorted(listing(path), reverse=True)

    def shuffled(path: Any = ".") -> list[Any]:
        return chance.sample(entries := listing(path), len(entries))

    # Any two entries come in both orders, forwards and backwards.
    for order, mode in itertools.product((forwards, backwards, shuffled), MODES):
        monkeypatch.setattr(os, "listdir", order)
        after = read_again(name, mode=mode)
        assert after.scores == before[mode].scores
        assert list(after.scores) == list(before[mode].scores)
        assert after.table.equals(before[mode].table)
        assert after.warnings == before[mode].warnings
        assert after.differences == before[mode].differences


def test_why_the_modes_differ():
    told = {
        name: [(found.submission, found.workload, found.why) for found in read(name).differences]
        for name in (*SETS, *EDGE_CASES)
    }
    (shampoo,) = told["v06_external"]
    assert shampoo[:2] == ("shampoo", "fastmri")
    assert "trial_2 (evaluation 8, 841.1768 s) instead of trial_5" in shampoo[2]
    assert "rows tie in" in shampoo[2]
    (cautious,) = (found for found in told["a100_self"] if found[1] == "finewebedu_lm")
    assert cautious[0] == "cautious_nadamw"
    assert "studies" in cautious[2]
    assert told["edge_cases/e05_missing_study"] == [
        (
            "a",
            "ogbg",
            "of 3 studies 1 absent, which the rules count as not reached and the script drops "
            "from the median",
        )
    ]
    (row,) = told["edge_cases/e07_row_vs_time"]
    assert (
        "trial_1 (evaluation 3, 300 s) instead of trial_2 (evaluation 4, 250 s) in study_0"
        in row[2]
    )
    assert "tie" not in row[2]
    (tie,) = told["edge_cases/e08_row_tie"]
    assert "rows tie in study_0" in tie[2]
    differing = {f"edge_cases/e0{i}_" for i in (5, 7, 8)}
    for name in EDGE_CASES:
        assert bool(told[name]) == any(name.startswith(start) for start in differing), name


def test_every_edge_case_is_listed():
    present = {f"edge_cases/{path.name}" for path in (gold() / "edge_cases").iterdir()}
    assert present == {*EDGE_CASES}


def test_budgets_of_the_self_tuning_logs_are_half_as_long_again():
    assert read("a100_self").targets["ogbg"].budget == pytest.approx(1.5 * 11303)
    assert math.isclose(read("v06_external").targets["fastmri"].budget, 4430)
    assert math.isclose(read("v05_external").targets["ogbg"].budget, 18477)


def test_gold_data_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MATPREC_GOLD", str(tmp_path / "absent"))
    with pytest.raises(pytest.skip.Exception, match=r"no gold data at .*absent"):
        log_trees.gold()
