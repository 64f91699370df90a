"""Whole trees: what is scored, against which targets, and what is told."""

import json
import math
import time
from pathlib import Path

import pytest
from log_trees import (
    BUDGET,
    META,
    METRIC,
    TARGET,
    hits_at,
    race,
    realistic_race,
    trial_dir,
    write_csv,
    write_targets,
    write_trial,
)

from benchmark.errors import UserError
from benchmark.scoring import MODES, Scores, score_tree
from benchmark.scoring.profile import Integral
from benchmark.scoring.time_to_target import Mode


def row(scores: Scores, submission: str, workload: str = "toy") -> dict:
    table = scores.table
    (found,) = table[(table.submission == submission) & (table.workload == workload)].to_dict(
        "records"
    )
    return found


def test_a_race_in_numbers(tmp_path: Path):
    race(tmp_path, {"adamw": [4, 4, 4], "shampoo": [2, 3, 2], "asgo": [1, 99, 2]})
    scores = score_tree(tmp_path)
    assert scores.num_studies == 3
    assert scores.warnings == ()
    assert list(scores.scores) == ["asgo", "shampoo", "adamw"]
    # Median times 20, 20 and 40 s: ratios 1, 1 and 2.
    assert list(scores.scores.values()) == pytest.approx([1.0, 1.0, 2 / 3])
    asgo = row(scores, "asgo")
    assert (asgo["reached"], asgo["studies"]) == (2, 3)
    assert (asgo["time_to_target"], asgo["steps_to_target"]) == (20.0, 200.0)
    assert (asgo["ratio_to_shampoo"], asgo["ratio_to_adamw"]) == (1.0, 0.5)
    assert asgo["compile_time"] == 1.5
    assert asgo["best_validation"] == pytest.approx(TARGET + 0.07)
    assert (asgo["target"], asgo["framework"]) == (TARGET, "jax")
    assert asgo["score"] == pytest.approx(1.0)
    assert scores.targets["toy"].budget == BUDGET
    assert scores.table["submission"].tolist() == list(scores.scores)


def test_several_workloads(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]}, "one")
    race(tmp_path, {"a": [99], "b": [3]}, "two")
    scores = score_tree(tmp_path, baselines=("a",))
    assert scores.scores == pytest.approx({"b": (2 / 3 + 1) / 2, "a": 0.5})
    times = scores.by_workload("time_to_target")
    assert times.to_dict("list") == {"one": [20.0, 10.0], "two": [30.0, math.inf]}
    assert row(scores, "b", "one")["ratio_to_a"] == 2.0
    assert math.isnan(row(scores, "b", "two")["ratio_to_a"])
    assert math.isnan(row(scores, "a", "two")["ratio_to_a"])


def test_a_workload_that_one_submission_lacks_counts_against_it(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]}, "one")
    race(tmp_path, {"a": [1]}, "two")
    scores = score_tree(tmp_path, baselines=())
    assert scores.scores == {"a": 1.0, "b": 0.5}
    missing = row(scores, "b", "two")
    assert (missing["reached"], missing["time_to_target"]) == (0, math.inf)
    assert math.isnan(missing["best_validation"])


def test_no_targets(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=None)
    with pytest.raises(UserError, match=r"no target for any workload .* give --workload_targets"):
        score_tree(tmp_path)


def test_a_workload_without_target_is_left_out_with_a_warning(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    write_trial(trial_dir(tmp_path, "a", "other"), [1.0], meta=None)
    scores = score_tree(tmp_path, baselines=())
    assert list(scores.targets) == ["toy"]
    assert scores.warnings == scores.left_out == ("other: no target; workload not scored",)


def test_a_targets_file_overrules_the_logs(tmp_path: Path):
    race(tmp_path / "logs", {"a": [3]})
    path = write_targets(tmp_path / "targets.json", {"toy": TARGET - 0.02, "unseen": 0.5})
    scores = score_tree(tmp_path / "logs", targets=path, baselines=())
    assert row(scores, "a")["time_to_target"] == 10.0
    assert row(scores, "a", "unseen")["time_to_target"] == math.inf
    assert scores.scores == {"a": 0.5}  # the unseen workload counts
    assert scores.left_out == ("unseen: no logs; counts as not reached by anyone",)
    assert scores.warnings[1:] == (
        f"toy: scored by mean_average_precision ≥ {TARGET - 0.02:.6g}, "
        f"but runs were made for mean_average_precision {TARGET}",
    )


def test_a_targets_file_of_other_workloads_is_an_error(tmp_path: Path):
    race(tmp_path / "logs", {"a": [3]})
    path = write_targets(tmp_path / "targets.json", {"ogbg": 0.28})
    with pytest.raises(UserError, match=r"no logs of ogbg, the workloads of .*targets\.json"):
        score_tree(tmp_path / "logs", targets=path)


def test_baselines_without_logs_are_told(tmp_path: Path):
    race(tmp_path, {"asgo": [1], "adamw": [2]})
    scores = score_tree(tmp_path)
    assert scores.warnings == ("baseline shampoo: no logs; time ratios to it are left out",)
    assert scores.left_out == ()
    assert scores.table["ratio_to_shampoo"].isna().all()
    assert row(scores, "asgo")["ratio_to_adamw"] == 0.5


def test_an_unfinished_run_and_an_error_are_told(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1], "c": [1]})
    (trial_dir(tmp_path, "a") / "result.json").unlink()
    error = {"status": "finished", "reason": "error", "message": "out of memory"}
    (trial_dir(tmp_path, "b") / "result.json").write_text(json.dumps(error))
    scores = score_tree(tmp_path, baselines=())
    assert scores.warnings == (
        "a/study_0/toy_jax/trial_1: no result.json (running or interrupted)",
        "b/study_0/toy_jax/trial_1: ended in an error: out of memory",
    )
    # What was logged counts all the same.
    assert row(scores, "a")["time_to_target"] == 10.0


def test_logs_of_the_official_harness_have_no_result_files(tmp_path: Path):
    for name in ("a", "b"):
        write_trial(trial_dir(tmp_path, name), hits_at(1), result=False, compile_time=None)
    scores = score_tree(tmp_path, baselines=())
    assert scores.warnings == ()
    assert scores.table["compile_time"].isna().all()


def test_facts_of_the_runs(tmp_path: Path):
    meta = {**META, "git_uncommitted_changes": True, "global_batch_size": 128}
    folder = write_trial(trial_dir(tmp_path, "a"), hits_at(1), meta=meta)
    (folder / "hparams.json").write_text('{"learning_rate": 0.0013082098, "every": 10}')
    write_trial(trial_dir(tmp_path, "b"), hits_at(1), meta={k: META[k] for k in list(META)[:4]})
    told, untold = score_tree(tmp_path, baselines=()).facts.to_dict("records")
    assert told["hardware"] == "Imagined CPU @ 3.00GHz, 1 of 2 CPU cores"
    assert told["packages"] == "jax 0.7.0, optax 0.2.2, numpy 2.4.6"
    assert told["commit"] == META["git_commit_hash"] + " with changes"
    assert (told["seed"], told["batch_size"], told["python"]) == ("17", "128", "3.11.2")
    assert told["hyperparameters"] == "learning_rate 0.001308, every 10"
    assert (told["ruleset"], told["end"]) == ("external", "targets_reached")
    assert [untold[name] for name in ("hardware", "packages", "commit", "seed")] == [""] * 4


def test_curves_mark_the_trial_that_counts(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(5))
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(2))
    curves = score_tree(tmp_path, baselines=()).curves
    assert len(curves) == 16
    assert curves.query("counts")["trial"].unique().tolist() == [2]
    counting = curves.query("counts")
    assert counting["step"].tolist() == [100.0 * i for i in range(1, 9)]
    assert counting["value"].tolist() == hits_at(2)


def test_a_tree_whose_every_trial_is_empty_still_scores(tmp_path: Path):
    for name in ("a", "b"):
        write_trial(trial_dir(tmp_path, name), [])
    scores = score_tree(tmp_path, baselines=("a",))
    assert scores.scores == {"a": 0.0, "b": 0.0}
    assert len(scores.curves) == 0
    assert len(scores.warnings) == 2


def test_a_realistic_race(tmp_path: Path):
    scores = score_tree(realistic_race(tmp_path))
    assert next(iter(scores.scores)) == "asgo"
    assert scores.warnings == ()
    assert (scores.table["reached"] == 3).all()


def test_10000_trials_are_scored_in_seconds(tmp_path: Path):
    """Guards against a table operation per trial: it takes about 1 s; the bound is generous."""
    rows = f"global_step,score,validation/{METRIC}\n1,10,0.1\n2,20,0.9\n"
    for name in range(20):
        for study in range(5):
            for trial in range(1, 101):
                write_csv(trial_dir(tmp_path, f"s{name}", study=study, trial=trial), rows)
    (trial_dir(tmp_path, "s0") / "meta_data_0.json").write_text(json.dumps(META))
    start = time.perf_counter()
    scores = score_tree(tmp_path, baselines=())
    assert time.perf_counter() - start < 10
    assert len(scores.facts) == 10_000
    assert scores.left_out == ()
    assert set(scores.scores.values()) == {1.0}


@pytest.mark.parametrize("status", ["measured", "provisional"])
def test_a_target_that_nobody_has_measured_is_called_one(tmp_path: Path, status: str):
    meta = {**META, "workload.target_status": status}
    write_trial(trial_dir(tmp_path, "a"), hits_at(1), meta=meta)
    write_trial(trial_dir(tmp_path, "b", "other"), hits_at(1))
    scores = score_tree(tmp_path, baselines=())
    told = [warning for warning in scores.warnings if "placeholders" in warning]
    wanted = "toy: the targets are placeholders that nobody has measured; times to them say nothing"
    assert [warning.startswith(wanted) for warning in told] == [True] * (status == "provisional")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("integral", [None, "exact", "grid100"])
def test_mode_and_integral(tmp_path: Path, mode: Mode, integral: Integral | None):
    """a: 10 and 10 s by the rules; the script takes trial_1 of its second study."""
    race(tmp_path, {"a": [1], "b": [2, 2]})
    for trial, period in ((1, 16.0), (2, 10.0)):
        write_trial(trial_dir(tmp_path, "a", study=1, trial=trial), hits_at(1), period=period)
    scores = score_tree(tmp_path, baselines=(), mode=mode, integral=integral)
    assert scores.mode == mode
    assert scores.integral == (integral or {"fastest": "exact", "official": "grid100"}[mode])
    times = {"fastest": 10.0, "official": 13.0}
    assert row(scores, "a")["time_to_target"] == times[mode]
    exact = {name: (4 - 20 / times[name]) / 3 for name in MODES}
    (other,) = set(MODES) - {mode}
    tolerance = 1e-12 if scores.integral == "exact" else 0.0051
    assert scores.scores["b"] == pytest.approx(exact[mode], abs=tolerance)
    assert scores.other_scores["b"] == pytest.approx(exact[other], abs=tolerance)
    if scores.integral == "grid100":
        assert scores.scores["b"] != pytest.approx(exact[mode], abs=1e-6)
    (difference,) = scores.differences
    assert (difference.submission, difference.workload) == ("a", "toy")


def test_held_out_workloads_are_gates(tmp_path: Path):
    logs = tmp_path / "logs"
    race(logs, {"a": [1], "b": [2], "c": [3]}, "toy")
    race(logs, {"a": [99], "b": [2], "c": [1]}, "toy_x")
    path = write_targets(tmp_path / "targets.json", {"toy": TARGET}, {"toy_x": TARGET})
    scores = score_tree(logs, targets=path, baselines=())
    assert list(scores.base_targets) == ["toy"]
    assert scores.variants == {"toy_x": "toy"}
    # a gets no credit, so that b is the best.
    assert scores.scores == pytest.approx({"b": 1.0, "c": (4 - 1.5) / 3, "a": 0.0})
    assert row(scores, "a")["no_credit"] == "toy_x not reached"
    assert row(scores, "a", "toy_x")["no_credit"] == ""
    assert row(scores, "a")["time_to_target"] == 10.0
    assert scores.profile.loc[4.0].to_dict() == {"b": 1.0, "c": 1.0, "a": 0.0}


def test_a_hit_after_the_budget_counts_and_is_told(tmp_path: Path):
    """The harness looks at the budget only when it evaluates."""
    race(tmp_path, {"a": [7], "b": [6]})
    scores = score_tree(tmp_path, baselines=())
    assert row(scores, "a")["time_to_target"] == 70.0
    (told,) = scores.warnings
    assert told.startswith("a/study_0, toy: the target was met after the budget (70 of 60 s)")
    assert scores.left_out == ()
