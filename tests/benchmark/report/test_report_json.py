"""scores.json and scores.csv against the scores they are written from."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from log_trees import META, hits_at, race, realistic_race, trial_dir, write_targets, write_trial

from benchmark.report.data import as_csv, as_json
from benchmark.scoring import Scores, score_tree


def written(scores: Scores) -> dict[str, Any]:
    """As a reader gets it; Infinity and NaN are not JSON."""
    text = json.dumps(as_json(scores))
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def read(value: Any) -> float:
    return math.nan if value is None else float(value)


def same(value: Any, expected: float) -> bool:
    return read(value) == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """A base workload with a held-out one, misses, lost credit and an absent study."""
    root = tmp_path_factory.mktemp("logs")
    race(root, {"base": [4, 4, 6], "quick": [2, 3, 2], "slow": [7, 99, 99], "gone": [5, 5]})
    race(root, {"base": [1, 1, 1], "quick": [6, 6, 6], "slow": [2, 2, 2]}, "toy_variant")
    targets = write_targets(root / "targets.json", {"toy": 0.7}, {"toy_variant": 0.7})
    return score_tree(root, targets=targets, baselines=("base", "absent"), num_studies=3)


COLUMNS = {
    "time_to_target_s": "time_to_target",
    "time_min_s": "time_min",
    "time_max_s": "time_max",
    "steps_to_target": "steps_to_target",
    "compile_time_s": "compile_time",
    "best_validation": "best_validation",
    "studies_reached": "reached",
}


@pytest.mark.parametrize(("key", "column"), COLUMNS.items())
def test_every_entry_of_the_table(scores: Scores, key: str, column: str):
    data = written(scores)[key]
    rows = scores.table.to_dict("records")
    for row in rows:
        assert same(data[row["submission"]][row["workload"]], row[column])
    assert sum(map(len, data.values())) == len(rows)


def test_how_it_was_scored(scores: Scores):
    data = written(scores)
    assert (data["mode"], data["integral"], data["pool"]) == ("fastest", "exact", "targets.json")
    assert data["num_studies"] == 3
    assert data["held_out"] == {"toy_variant": "toy"}
    assert data["mixed"] == []
    assert data["targets"]["toy"] == {
        "target_metric_name": "mean_average_precision",
        "validation_target_value": 0.7,
        "max_allowed_runtime_sec": 60.0,
    }
    assert data["warnings"] == list(scores.warnings)
    assert data["left_out"] == list(scores.left_out)
    assert data["left_out"]


def test_scores_of_both_modes(scores: Scores):
    data = written(scores)
    assert data["scores"] == scores.scores
    assert list(data["scores"]) == list(scores.scores)
    assert data["other_scores"] == scores.other_scores


def test_ratios_and_speed_ups(scores: Scores):
    data = written(scores)
    assert list(data["time_ratios"]) == list(data["speedups"]) == ["base"]
    for row in scores.table.to_dict("records"):
        name, workload = row["submission"], row["workload"]
        for key, column in (("ratios", "ratio"), ("ratio_low", "low"), ("ratio_high", "high")):
            assert same(data[f"time_{key}"]["base"][name][workload], row[f"{column}_to_base"])
    for row in scores.speedups.to_dict("records"):
        told = data["speedups"][row["baseline"]][row["submission"]]
        assert set(told) == {"over_both", "num_both", "over_all", "low", "high"}
        assert all(same(told[name], row[name]) for name in told)
    # 40 s against 20 s.
    assert data["speedups"]["base"]["quick"]["over_both"] == pytest.approx(2.0)


def test_what_was_missed_and_by_how_much(scores: Scores):
    missed = {(miss["submission"], miss["workload"]): miss for miss in written(scores)["missed"]}
    slow = missed["slow", "toy"]
    assert (slow["why"], slow["studies_reached"], slow["studies"]) == ("not reached", 1, 3)
    assert slow["best_validation"] == pytest.approx(0.71)
    assert slow["margin"] == pytest.approx(0.01)
    assert slow["median_study_margin"] == pytest.approx(0.7 + 0.01 * (8 - 99) - 0.7)
    assert missed["quick", "toy"]["why"] == "toy_variant over 4 times the best"
    assert missed["gone", "toy_variant"]["margin"] is None
    assert ("base", "toy") not in missed
    no_credit = written(scores)["no_credit"]
    assert no_credit["quick"] == {"toy": "toy_variant over 4 times the best", "toy_variant": ""}


def test_every_study_with_the_trial_that_counts(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(5))
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(2))
    write_trial(trial_dir(tmp_path, "a", study=1), hits_at(99))
    data = written(score_tree(tmp_path, baselines=()))
    assert data["studies"] == [
        {
            "submission": "a",
            "workload": "toy",
            "study": study,
            "trial": trial,
            "time_to_target_s": time,
            "steps_to_target": steps,
            "best_validation": pytest.approx(best),
        }
        for study, trial, time, steps, best in (
            (0, 2, 20.0, 200.0, 0.76),
            (1, 1, "inf", "inf", 0.7 + 0.01 * (8 - 99)),
        )
    ]


def test_where_the_modes_differ(tmp_path: Path):
    """The script takes the first trial, which meets the target at an earlier row but later."""
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(2), period=30.0)
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(3), period=10.0)
    scores = score_tree(tmp_path, baselines=(), mode="official")
    (difference,) = written(scores)["differences"]
    assert difference["time_to_target_s"] == {"fastest": 30.0, "official": 60.0}
    assert (difference["submission"], difference["workload"]) == ("a", "toy")
    assert difference["why"] == scores.differences[0].why
    assert (written(scores)["mode"], written(scores)["integral"]) == ("official", "grid100")


def test_no_logs_are_null_in_mode_official_and_inf_in_mode_fastest(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]}, "one")
    race(tmp_path, {"b": [2]}, "two")
    official = written(score_tree(tmp_path, baselines=(), mode="official"))
    assert official["time_to_target_s"]["a"] == {"one": 10.0, "two": None}
    assert official["studies_reached"]["a"] == {"one": 1, "two": 0}
    fastest = written(score_tree(tmp_path, baselines=()))
    assert fastest["time_to_target_s"]["a"] == {"one": 10.0, "two": "inf"}


def test_an_unknown_budget_and_unknown_speed_ups_are_null(tmp_path: Path):
    meta = {key: META[key] for key in META if "max_allowed" not in key}
    write_trial(trial_dir(tmp_path, "base"), hits_at(1), meta=meta)
    write_trial(trial_dir(tmp_path, "a"), hits_at(99), meta=meta)
    data = written(score_tree(tmp_path, baselines=("base",)))
    assert data["targets"]["toy"]["max_allowed_runtime_sec"] is None
    told = {"over_both": None, "num_both": 0, "over_all": None, "low": None, "high": None}
    assert data["speedups"]["base"]["a"] == told


def test_mixed_runs_are_listed(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    write_trial(trial_dir(tmp_path, "b"), hits_at(1), meta={**META, "cpu_model_name": "Another"})
    scores = score_tree(tmp_path, baselines=(), allow_mixed=True)
    assert written(scores)["mixed"] == list(scores.mixed)
    assert "different hardware" in scores.mixed[0]


def test_csv_has_every_row_and_column(scores: Scores):
    rows = list(csv.DictReader(io.StringIO(as_csv(scores))))
    assert list(rows[0]) == list(scores.table.columns)
    for row, expected in zip(rows, scores.table.to_dict("records"), strict=True):
        assert (row["submission"], row["workload"]) == (
            expected["submission"],
            expected["workload"],
        )
        assert float(row["time_to_target"] or "nan") == pytest.approx(expected["time_to_target"])
    slow = [row for row in rows if (row["submission"], row["workload"]) == ("slow", "toy")]
    assert (slow[0]["time_to_target"], slow[0]["ratio_to_absent"]) == ("inf", "")


def test_numbers_of_a_whole_race(tmp_path: Path):
    scores = score_tree(realistic_race(tmp_path))
    data = written(scores)
    assert list(data["scores"]) == ["asgo", "nadamw", "shampoo", "adamw"]
    asgo = data["time_to_target_s"]["asgo"]["ogbg_small"]
    adamw = data["time_to_target_s"]["adamw"]["ogbg_small"]
    assert data["time_ratios"]["adamw"]["asgo"]["ogbg_small"] == pytest.approx(asgo / adamw)
    assert data["speedups"]["adamw"]["asgo"]["over_all"] == pytest.approx(adamw / asgo)
    assert data["scores"]["adamw"] == pytest.approx((4 - adamw / asgo) / 3)
