"""The facts of the runs: told once where runs agree."""

from pathlib import Path

import pytest
from log_trees import META, hits_at, race, trial_dir, write_trial

from benchmark.report.runs import merged_runs, shared_facts
from benchmark.scoring import Scores, score_tree


def rows(scores: Scores) -> list[dict[str, str]]:
    runs = merged_runs(scores)
    return [dict(zip(runs.headings, row, strict=True)) for row in runs.rows]


def test_runs_that_agree_share_a_row_whatever_their_seed(tmp_path: Path):
    for study in range(3):
        for trial in (1, 2):
            meta = {**META, "rng_seed": 10 * study + trial}
            write_trial(trial_dir(tmp_path, "a", "one", study, trial), hits_at(1), meta=meta)
            write_trial(trial_dir(tmp_path, "a", "two", study, trial), hits_at(1), meta=meta)
    scores = score_tree(tmp_path, baselines=())
    assert merged_runs(scores).count == 12
    assert rows(scores) == [
        {
            "submission": "a",
            "framework": "jax",
            "workloads": "all 2",
            "studies": "0 to 2",
            "trials": "1 to 2",
            "runs": "12",
            "hyperparameters": "learning_rate 0.001",
            "seed": "1, 2, 11, 12, 21 and 1 more",
            "end": "targets_reached",
        }
    ]


def test_batch_sizes_are_told_per_workload(tmp_path: Path):
    for workload, size in (("one", 128), ("two", 256)):
        meta = {**META, "global_batch_size": size}
        write_trial(trial_dir(tmp_path, "a", workload), hits_at(1), meta=meta)
    found = rows(score_tree(tmp_path, baselines=()))
    assert [(row["workloads"], row["batch size"]) for row in found] == [
        ("one", "128"),
        ("two", "256"),
    ]


def test_submissions_are_not_merged(tmp_path: Path):
    found = rows(score_tree(race(tmp_path, {"a": [1, 1], "b": [1, 1]}), baselines=()))
    assert [(row["submission"], row["runs"]) for row in found] == [("a", "2"), ("b", "2")]


def test_what_all_runs_share_is_not_a_column_and_what_differs_is(tmp_path: Path):
    for study, commit in enumerate("aab"):
        meta = {**META, "git_commit_hash": commit * 40}
        write_trial(trial_dir(tmp_path, "x", study=study), hits_at(1), meta=meta)
    scores = score_tree(tmp_path, baselines=())
    assert [(row["commit"][0], row["studies"]) for row in rows(scores)] == [
        ("a", "0 to 1"),
        ("b", "2"),
    ]
    assert "hardware" not in merged_runs(scores).headings
    facts = shared_facts(scores.facts)
    assert facts["Commit"] == [f"{'a' * 40} (2 of 3 runs)", f"{'b' * 40} (1 of 3 runs)"]
    assert facts["Hardware"] == ["Imagined CPU @ 3.00GHz, 1 of 2 CPU cores"]


def test_facts_that_nobody_logged(tmp_path: Path):
    meta = {key: META[key] for key in META if key.startswith("workload.")}
    write_trial(trial_dir(tmp_path, "x"), hits_at(1), meta=meta)
    scores = score_tree(tmp_path, baselines=())
    assert shared_facts(scores.facts)["Hardware"] == ["not logged"]
    assert "seed" not in merged_runs(scores).headings


@pytest.mark.parametrize("logged", [0, 1, 3])
def test_facts_that_some_runs_logged(tmp_path: Path, logged: int):
    for study in range(3):
        meta = META if study < logged else None
        folder = trial_dir(tmp_path, "ogbg", "ogbg", study)
        write_trial(folder, hits_at(1), meta=meta, result=False)
    found = rows(score_tree(tmp_path, baselines=(), allow_mixed=True))
    counts = [count for count in (logged, 3 - logged) if count]
    assert [int(row["runs"]) for row in found] == counts


def test_thousands_of_runs_that_agree_are_one_row(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [1] * 40}), baselines=())
    assert [row["studies"] for row in rows(scores)] == ["0 to 39"]
    assert rows(scores)[0]["seed"] == "17"
