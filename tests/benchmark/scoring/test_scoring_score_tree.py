"""Whole trees: what is selected, required, compared and told."""

import json
import math
import shutil
import time
from pathlib import Path

import pytest
from log_trees import BUDGET, META, TARGET, hits_at, race, realistic_race, trial_dir, write_trial

from benchmark.errors import UserError
from benchmark.scoring import Scores, score_tree, submission_names


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


def test_absent_studies_count_as_not_reached(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [1, 1], "c": [1]})
    scores = score_tree(tmp_path, baselines=())
    assert scores.num_studies == 3
    times = scores.by_workload("time_to_target")["toy"].to_dict()
    assert times == {"a": 10.0, "b": 10.0, "c": math.inf}
    assert scores.warnings == (
        "b, toy: 2 of 3 studies; absent ones count as not reached",
        "c, toy: 1 of 3 studies; absent ones count as not reached",
    )


@pytest.mark.parametrize(("num_studies", "time"), [(1, 10.0), (2, 20.0), (5, math.inf)])
def test_required_studies(tmp_path: Path, num_studies: int, time: float):
    race(tmp_path, {"a": [1, 3]})
    scores = score_tree(tmp_path, baselines=(), num_studies=num_studies)
    assert row(scores, "a")["time_to_target"] == time
    assert row(scores, "a")["studies"] == num_studies
    told = "of 2 studies only the first 1 count" if num_studies == 1 else "2 of 5 studies"
    assert [told in warning for warning in scores.warnings] == [True] * (num_studies != 2)


def test_number_of_trials(tmp_path: Path):
    for trial, hit in ((1, 5), (2, 3), (10, 1)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), hits_at(hit))
    times = [
        row(score_tree(tmp_path, baselines=(), num_trials=n), "a")["time_to_target"]
        for n in (1, 2, 3, None)
    ]
    assert times == [50.0, 30.0, 10.0, 10.0]


def test_selection(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2], "c": [3]}, "one")
    race(tmp_path, {"a": [1], "b": [2], "c": [3]}, "two")
    scores = score_tree(tmp_path, baselines=(), submissions=["b", "c"], workloads=["two"])
    # Best of the pool that is scored: a's logs play no part.
    assert scores.scores == pytest.approx({"b": 1.0, "c": (4 - 1.5) / 3})
    assert list(scores.targets) == ["two"]
    assert submission_names(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ({"submissions": ["a", "nobody"]}, "no logs of submission nobody; there are a, b"),
        ({"workloads": ["mnist"]}, "no logs of workload mnist; there are toy"),
        ({"framework": "pytorch"}, "no logs of framework pytorch; there are jax"),
    ],
)
def test_unknown_names_are_errors(tmp_path: Path, selection: dict, told: str):
    race(tmp_path, {"a": [1], "b": [1]})
    with pytest.raises(UserError) as error:
        score_tree(tmp_path, **selection)
    assert str(error.value) == f"{tmp_path}: {told}"


def test_two_frameworks_of_one_submission_need_a_choice(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]})
    folder = trial_dir(tmp_path, "a").parent
    write_trial(folder.with_name("toy_pytorch") / "trial_1", hits_at(3))
    with pytest.raises(UserError, match=r"a has logs of jax and pytorch for toy; .*--framework"):
        score_tree(tmp_path)
    scores = score_tree(tmp_path, framework="pytorch", baselines=())
    assert list(scores.scores) == ["a"]
    assert row(scores, "a")["framework"] == "pytorch"


def test_two_submissions_may_use_different_frameworks(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]})
    folder = trial_dir(tmp_path, "b").parent
    folder.rename(folder.with_name("toy_pytorch"))
    assert list(score_tree(tmp_path, baselines=()).table["framework"]) == ["jax", "pytorch"]


def test_nothing_to_score(tmp_path: Path):
    with pytest.raises(UserError, match=r"nope: no such directory"):
        score_tree(tmp_path / "nope")
    with pytest.raises(UserError, match=r"no logs found, expected .*study_<i>.*trial_<j>$"):
        score_tree(tmp_path)
    race(tmp_path / "experiment", {"a": [1]})
    with pytest.raises(UserError, match=r"did you mean .*experiment\?$"):
        score_tree(tmp_path)


def test_no_targets(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=None)
    with pytest.raises(UserError, match=r"no target for any workload .* give --workload_targets"):
        score_tree(tmp_path)


def test_a_workload_without_target_is_left_out_with_a_warning(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    write_trial(trial_dir(tmp_path, "a", "other"), [1.0], meta=None)
    scores = score_tree(tmp_path, baselines=())
    assert list(scores.targets) == ["toy"]
    assert scores.warnings == ("other: no target; workload not scored",)


def targets_file(tmp_path: Path, **targets: float) -> Path:
    entries = {
        name: {"target_metric_name": "mean_average_precision", "validation_target_value": value}
        for name, value in targets.items()
    }
    path = tmp_path / "targets.json"
    path.write_text(json.dumps({"base_workloads": list(entries), "workloads": entries}))
    return path


def test_a_targets_file_overrules_the_logs(tmp_path: Path):
    race(tmp_path / "logs", {"a": [3]})
    path = targets_file(tmp_path, toy=TARGET - 0.02, unseen=0.5)
    scores = score_tree(tmp_path / "logs", targets=path, baselines=())
    assert row(scores, "a")["time_to_target"] == 10.0
    assert row(scores, "a", "unseen")["time_to_target"] == math.inf
    assert scores.scores == {"a": 0.5}  # the unseen workload counts
    assert scores.warnings == ("unseen: no logs; counts as not reached by anyone",)


def test_a_targets_file_of_other_workloads_is_an_error(tmp_path: Path):
    race(tmp_path / "logs", {"a": [3]})
    path = targets_file(tmp_path, ogbg=0.28)
    with pytest.raises(UserError, match=r"no logs of ogbg, the workloads of .*targets\.json"):
        score_tree(tmp_path / "logs", targets=path)


def test_baselines_without_logs_are_told(tmp_path: Path):
    race(tmp_path, {"asgo": [1], "adamw": [2]})
    scores = score_tree(tmp_path)
    assert scores.warnings == ("baseline shampoo: no logs; time ratios to it are left out",)
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


def test_interrupted_trials_are_ignored(tmp_path: Path):
    race(tmp_path, {"a": [3]})
    folder = trial_dir(tmp_path, "a")
    aside = folder.with_name("interrupted_trial_1_1")
    shutil.copytree(folder, aside)
    write_trial(aside, hits_at(1))
    assert row(score_tree(tmp_path, baselines=()), "a")["time_to_target"] == 30.0


def test_mixed_hardware_is_told(tmp_path: Path):
    race(tmp_path, {"a": [1, 1]})
    gpu = {**META, "gpu_model_name": "Imagined GPU", "gpu_count": 4}
    write_trial(trial_dir(tmp_path, "b"), hits_at(1), meta=gpu)
    warnings = score_tree(tmp_path, baselines=(), num_studies=1).warnings
    assert warnings[-1] == (
        "different hardware in one pool, times do not compare: "
        "Imagined CPU @ 3.00GHz, 1 of 2 CPU cores (1 runs); 4 x Imagined GPU (1 runs)"
    )


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


def test_a_large_tree_is_read_fast_enough(tmp_path: Path):
    """Guards against a table operation per trial: 400 trials took 0.5 s; the bound is generous."""
    for name in "abcd":
        for study in range(5):
            for trial in range(1, 21):
                write_trial(trial_dir(tmp_path, name, study=study, trial=trial), hits_at(4, 30))
    start = time.perf_counter()
    scores = score_tree(tmp_path, baselines=())
    assert time.perf_counter() - start < 10
    assert set(scores.scores.values()) == {1.0}


def smoke(root: Path, submission: str, study: int = 0) -> None:
    flags = {"tuning_ruleset": "external", "smoke_batch_size": 8}
    (trial_dir(root, submission, study=study) / "flags_0.json").write_text(json.dumps(flags))


def test_runs_of_a_shrunk_workload_are_left_out(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [2, 2, 2], "c": [1, 1, 1]})
    smoke(tmp_path, "a", study=1)
    for study in range(3):
        smoke(tmp_path, "c", study)
    scores = score_tree(tmp_path, baselines=())
    assert list(scores.scores) == ["a", "b"]
    assert row(scores, "a")["reached"] == 2
    left_out = [warning for warning in scores.warnings if "--smoke_batch_size=8" in warning]
    assert left_out[0] == "a/study_1/toy_jax/trial_1: made with --smoke_batch_size=8, left out"
    assert len(left_out) == 4


def test_their_studies_are_not_asked_of_others(tmp_path: Path):
    race(tmp_path, {"a": [1], "c": [1, 1, 1]})
    for study in range(3):
        smoke(tmp_path, "c", study)
    scores = score_tree(tmp_path, baselines=())
    assert scores.num_studies == 1
    assert scores.scores == {"a": 1.0}
    assert all("smoke_batch_size" in warning for warning in scores.warnings)


def test_only_such_runs_are_nothing_to_score(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    smoke(tmp_path, "a")
    with pytest.raises(UserError, match="with --smoke_batch_size: nothing to score"):
        score_tree(tmp_path)


@pytest.mark.parametrize("status", ["measured", "provisional"])
def test_a_target_that_nobody_has_measured_is_called_one(tmp_path: Path, status: str):
    meta = {**META, "workload.target_status": status}
    write_trial(trial_dir(tmp_path, "a"), hits_at(1), meta=meta)
    write_trial(trial_dir(tmp_path, "b", "other"), hits_at(1))
    scores = score_tree(tmp_path, baselines=())
    told = [warning for warning in scores.warnings if "placeholders" in warning]
    wanted = "toy: the targets are placeholders that nobody has measured; times to them say nothing"
    assert [warning.startswith(wanted) for warning in told] == [True] * (status == "provisional")
