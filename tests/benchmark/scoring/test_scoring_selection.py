"""Which trials of a tree are scored, and how many are required."""

import json
import math
import shutil
from pathlib import Path

import pytest
from log_trees import hits_at, race, trial_dir, write_trial

from benchmark.errors import UserError
from benchmark.scoring import Scores, score_tree, submission_names
from benchmark.scoring.time_to_target import Mode


def row(scores: Scores, submission: str) -> dict:
    (found,) = scores.table[scores.table.submission == submission].to_dict("records")
    return found


def test_absent_studies_count_as_not_reached(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [1, 1], "c": [1]})
    scores = score_tree(tmp_path, baselines=())
    assert scores.num_studies == 3
    times = scores.by_workload("time_to_target")["toy"].to_dict()
    assert times == {"a": 10.0, "b": 10.0, "c": math.inf}
    told = (
        "b, toy: 2 of 3 studies; absent ones count as not reached",
        "c, toy: 1 of 3 studies; absent ones count as not reached",
    )
    assert scores.warnings == scores.left_out == told


def test_absent_studies_are_dropped_in_mode_official(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [1, 3], "c": [2]})
    scores = score_tree(tmp_path, baselines=(), mode="official")
    times = scores.by_workload("time_to_target")["toy"].to_dict()
    assert times == {"a": 10.0, "b": 20.0, "c": 20.0}
    assert scores.table.set_index("submission")["studies"].to_dict() == {"a": 3, "b": 2, "c": 1}
    dropped = "absent ones are dropped, as the official script does"
    assert scores.left_out == (
        f"b, toy: 2 of 3 studies; {dropped}",
        f"c, toy: 1 of 3 studies; {dropped}",
    )


@pytest.mark.parametrize(("num_studies", "time"), [(1, 10.0), (2, 20.0), (5, math.inf)])
def test_required_studies(tmp_path: Path, num_studies: int, time: float):
    race(tmp_path, {"a": [1, 3]})
    scores = score_tree(tmp_path, baselines=(), num_studies=num_studies)
    assert row(scores, "a")["time_to_target"] == time
    assert row(scores, "a")["studies"] == num_studies
    told = "of 2 studies only the first 1 count" if num_studies == 1 else "2 of 5 studies"
    assert [told in warning for warning in scores.left_out] == [True] * (num_studies != 2)


def test_number_of_trials(tmp_path: Path):
    for trial, hit in ((1, 5), (2, 3), (10, 1)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), hits_at(hit))
    scores = [score_tree(tmp_path, baselines=(), num_trials=n) for n in (1, 2, 3, None)]
    times = [row(found, "a")["time_to_target"] for found in scores]
    assert times == [50.0, 30.0, 10.0, 10.0]
    assert [found.left_out for found in scores] == [
        ("a, toy: of 3 trials in study_0 only the first 1 count",),
        ("a, toy: of 3 trials in study_0 only the first 2 count",),
        (),
        (),
    ]


def test_fewer_trials_than_required_are_told(tmp_path: Path):
    race(tmp_path, {"a": [1, 1], "b": [1, 1]})
    write_trial(trial_dir(tmp_path, "a", study=1, trial=2), hits_at(3))
    assert score_tree(tmp_path, baselines=(), num_trials=2).left_out == (
        "a, toy: fewer than 2 trials: 1 in study_0; absent ones count as not reached",
        "b, toy: fewer than 2 trials: 1 in study_0, 1 in study_1; absent ones count as not reached",
    )


@pytest.mark.parametrize(("asked", "time"), [(None, 40.0), (True, 40.0), (False, 20.0)])
def test_self_tuning_has_one_trial_per_study(tmp_path: Path, asked: bool | None, time: float):
    """Where the runs say so or it is asked for."""
    for trial, hit in ((1, 4), (2, 2)):
        folder = write_trial(trial_dir(tmp_path, "a", trial=trial), hits_at(hit))
        (folder / "flags_0.json").write_text(json.dumps({"tuning_ruleset": "self"}))
    scores = score_tree(tmp_path, baselines=(), self_tuning=asked)
    assert row(scores, "a")["time_to_target"] == time
    assert len(scores.left_out) == (time == 40.0)


def test_the_trial_of_self_tuning_is_trial_1(tmp_path: Path):
    """The harness writes no other; one that is called otherwise is no run of this ruleset."""
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(1))
    race(tmp_path, {"b": [2]})
    scores = score_tree(tmp_path, baselines=(), self_tuning=True)
    assert scores.scores["b"] == 1.0
    assert any("a" in told and "trial" in told for told in scores.left_out)


@pytest.mark.parametrize("mode", ["fastest", "official"])
def test_in_mode_official_all_that_is_there_counts_unless_told_otherwise(
    tmp_path: Path, mode: Mode
):
    for study in range(4):
        for trial in range(1, 7):
            hit = 1 if (study, trial) >= (2, 6) else 3
            folder = trial_dir(tmp_path, "a", "ogbg", study, trial)
            write_trial(folder, hits_at(hit, target=0.28098))
    scores = score_tree(tmp_path, targets="v0.6", mode=mode, baselines=())
    times = scores.by_workload("time_to_target").loc["a"]
    assert times["ogbg"] == {"fastest": 30.0, "official": 20.0}[mode]
    cut = score_tree(tmp_path, targets="v0.6", mode=mode, baselines=(), num_studies=3, num_trials=5)
    assert cut.by_workload("time_to_target").loc["a", "ogbg"] == 30.0


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


@pytest.mark.parametrize("name", ["num_studies", "num_trials"])
def test_a_number_of_none_is_an_error(tmp_path: Path, name: str):
    race(tmp_path, {"a": [1]})
    with pytest.raises(UserError, match=f"{name}=0 must be at least 1"):
        score_tree(tmp_path, **{name: 0})  # type: ignore[arg-type]


def test_an_empty_selection_is_an_error(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    with pytest.raises(UserError, match="no submission, workload or framework is asked for"):
        score_tree(tmp_path, submissions=[])


def test_a_workload_may_be_asked_for_by_its_alias(tmp_path: Path):
    race(tmp_path, {"a": [1]}, "c4_130m")
    race(tmp_path, {"a": [1]}, "toy")
    scores = score_tree(tmp_path, baselines=(), workloads=["c4_130m"])
    assert list(scores.targets) == ["c4"]


TWO_FRAMEWORKS = (
    "a has logs of jax and pytorch for toy, as in a/study_0/toy_jax/trial_1; all of them are left "
    "out: score one framework at a time (--framework)"
)


def test_two_frameworks_of_one_submission_need_a_choice(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]})
    race(tmp_path, {"a": [1], "b": [2]}, "other")
    folder = trial_dir(tmp_path, "a").parent
    write_trial(folder.with_name("toy_pytorch") / "trial_1", hits_at(3))
    scores = score_tree(tmp_path, baselines=())
    assert TWO_FRAMEWORKS in scores.left_out
    # The rest is scored: b alone on toy, both on the other workload.
    assert scores.scores == pytest.approx({"b": (1 + 2 / 3) / 2, "a": 0.5})
    scores = score_tree(tmp_path, framework="pytorch", baselines=())
    assert list(scores.scores) == ["a"]
    assert row(scores, "a")["framework"] == "pytorch"


def test_two_frameworks_in_different_studies_are_two_all_the_same(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2, 2]})
    write_trial(tmp_path / "a" / "study_1" / "toy_pytorch" / "trial_1", hits_at(3))
    scores = score_tree(tmp_path, baselines=())
    assert TWO_FRAMEWORKS in scores.left_out
    assert scores.scores == {"b": 1.0}


def test_nothing_is_left_but_two_frameworks(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    folder = trial_dir(tmp_path, "a").parent
    write_trial(folder.with_name("toy_pytorch") / "trial_1", hits_at(3))
    with pytest.raises(UserError) as error:
        score_tree(tmp_path)
    assert str(error.value) == f"{tmp_path}: nothing to score: {TWO_FRAMEWORKS}"


def test_two_submissions_may_use_different_frameworks(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2]})
    folder = trial_dir(tmp_path, "b").parent
    folder.rename(folder.with_name("toy_pytorch"))
    assert list(score_tree(tmp_path, baselines=()).table["framework"]) == ["jax", "pytorch"]


@pytest.mark.parametrize("level", ["study_0/toy_jax", "study_0/toy_jax/trial_1"])
def test_a_submission_with_empty_folders_is_told(tmp_path: Path, level: str):
    """It crashed before its first log; that it took part must not go unsaid."""
    race(tmp_path, {"a": [1], "b": [1]})
    folder = tmp_path / "b" / level
    shutil.rmtree(folder)
    if level.endswith("trial_1"):
        folder.write_text("a file, not a folder")
    scores = score_tree(tmp_path, baselines=())
    assert scores.scores["a"] == 1.0
    assert any("b" in told.split("/") or told.startswith("b") for told in scores.left_out)


def test_a_workload_that_one_submission_lacks_is_told(tmp_path: Path):
    """As an absent study is: with --strict it is an error."""
    race(tmp_path, {"a": [1], "b": [1]}, "one")
    race(tmp_path, {"a": [1]}, "two")
    (told,) = score_tree(tmp_path, baselines=()).left_out
    assert told.startswith("b, two: ")


def test_nothing_to_score(tmp_path: Path):
    with pytest.raises(UserError, match=r"nope: no such directory"):
        score_tree(tmp_path / "nope")
    with pytest.raises(UserError, match=r"no logs found, expected .*study_<i>.*trial_<j>$"):
        score_tree(tmp_path)
    race(tmp_path / "experiment", {"a": [1]})
    with pytest.raises(UserError, match=r"did you mean .*experiment\?$"):
        score_tree(tmp_path)


def test_interrupted_trials_are_ignored(tmp_path: Path):
    race(tmp_path, {"a": [3]})
    folder = trial_dir(tmp_path, "a")
    aside = folder.with_name("interrupted_trial_1_1")
    shutil.copytree(folder, aside)
    write_trial(aside, hits_at(1))
    assert row(score_tree(tmp_path, baselines=()), "a")["time_to_target"] == 30.0


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
