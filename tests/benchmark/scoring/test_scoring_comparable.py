"""Runs on different hardware, under different budgets or to different targets are not compared."""

import json
from pathlib import Path
from typing import Any

import pytest
from log_trees import META, hits_at, race, trial_dir, write_trial

from benchmark.errors import UserError
from benchmark.scoring import score_tree

BUDGET_KEY, TARGET_KEY = "workload.max_allowed_runtime_sec", "workload.validation_target_value"
CPU = "Imagined CPU @ 3.00GHz, 1 of 2 CPU cores"


def run(root: Path, submission: str, workload: str = "toy", study: int = 0, **changes: Any) -> Path:
    """One trial with other meta data; None: without that key."""
    meta = {key: value for key, value in {**META, **changes}.items() if value is not None}
    return write_trial(trial_dir(root, submission, workload, study), hits_at(1), meta=meta)


def mixed(root: Path) -> list[str]:
    """What is refused, one line per thing; the same things are told where that is allowed."""
    with pytest.raises(UserError) as refused:
        score_tree(root, baselines=())
    message = str(refused.value)
    assert message.startswith(f"{root}: runs that do not compare: different ")
    assert "--allow_mixed" in message
    assert "\n" not in message
    allowed = score_tree(root, baselines=(), allow_mixed=True)
    for line in allowed.mixed:
        assert line in message
        assert f"{line}: times do not compare" in allowed.warnings
    assert allowed.left_out == ()
    return list(allowed.mixed)


def test_different_hardware(tmp_path: Path):
    race(tmp_path, {"a": [1, 1]})
    for study in range(2):
        run(tmp_path, "b", study=study, gpu_model_name="Imagined GPU", gpu_count=4)
    assert mixed(tmp_path) == [
        f"different hardware: 4 x Imagined GPU (2 runs, of b); {CPU} (2 runs, of a)"
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cpu_cores_used": 2}, "Imagined CPU @ 3.00GHz, 2 of 2 CPU cores"),
        ({"cpu_count": 64}, "Imagined CPU @ 3.00GHz, 1 of 64 CPU cores"),
        ({"cpu_model_name": "Another CPU"}, "Another CPU, 1 of 2 CPU cores"),
        ({"gpu_model_name": "Imagined GPU"}, "1 x Imagined GPU"),
    ],
)
def test_what_hardware_is(tmp_path: Path, changes: dict[str, Any], told: str):
    race(tmp_path, {"a": [1], "b": [1]})
    run(tmp_path, "c", **changes)
    assert mixed(tmp_path) == [f"different hardware: {CPU} (2 runs, of a, b); {told} (1 run, of c)"]


def test_hardware_is_one_for_the_whole_pool(tmp_path: Path):
    """Between workloads too, and within one submission."""
    race(tmp_path, {"a": [1]}, "one")
    run(tmp_path, "a", "two", gpu_model_name="Imagined GPU", gpu_count=1)
    (line,) = mixed(tmp_path)
    assert line.startswith("different hardware: 1 x Imagined GPU (1 run, of a); ")


def test_different_budgets_of_a_workload(tmp_path: Path):
    race(tmp_path, {"a": [1, 1], "b": [1, 1]}, "one")
    race(tmp_path, {"a": [1, 1]}, "two")
    for study in range(2):
        run(tmp_path, "b", "two", study, **{BUDGET_KEY: 90})
    assert mixed(tmp_path) == ["different two: budget: 60 s (2 runs, of a); 90 s (2 runs, of b)"]


def test_different_targets_of_a_workload(tmp_path: Path):
    race(tmp_path, {"a": [1, 1]})
    run(tmp_path, "b", **{TARGET_KEY: 0.75})
    run(tmp_path, "b", study=1, **{"workload.target_metric_name": "accuracy"})
    assert mixed(tmp_path) == [
        "different toy: target: mean_average_precision 0.7 (2 runs, of a); "
        "accuracy 0.7 (1 run, of b); mean_average_precision 0.75 (1 run, of b)"
    ]


def test_workloads_may_differ_from_each_other_in_budget_and_target(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]}, "one")
    for name in "ab":
        run(tmp_path, name, "two", **{BUDGET_KEY: 90, TARGET_KEY: 0.71})
    scores = score_tree(tmp_path, baselines=())
    assert (scores.mixed, scores.warnings) == ((), ())


def test_self_tuning_and_external_runs_have_different_budgets(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]})
    flags = trial_dir(tmp_path, "b") / "flags_0.json"
    flags.write_text(json.dumps({"tuning_ruleset": "self"}))
    assert mixed(tmp_path) == ["different toy: budget: 60 s (1 run, of a); 90 s (1 run, of b)"]
    # Unless all of them are asked to be scored by one ruleset.
    assert score_tree(tmp_path, baselines=(), self_tuning=True).mixed == ()


def test_everything_that_differs_is_listed(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    run(tmp_path, "b", gpu_model_name="Imagined GPU", **{BUDGET_KEY: 90, TARGET_KEY: 0.71})
    assert [line.split(": ")[0:2] for line in mixed(tmp_path)] == [
        ["different hardware", f"1 x Imagined GPU (1 run, of b); {CPU} (1 run, of a)"],
        ["different toy", "budget"],
        ["different toy", "target"],
    ]


def test_what_is_refused_is_told_on_one_line(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    run(tmp_path, "b", cpu_model_name="Another\nCPU")
    with pytest.raises(UserError) as refused:
        score_tree(tmp_path, baselines=())
    assert len(str(refused.value).splitlines()) == 1
    assert "Another CPU" in str(refused.value)


def test_many_submissions_are_counted(tmp_path: Path):
    race(tmp_path, {name: [1] for name in "abcdefg"})
    run(tmp_path, "z", cpu_count=64)
    (line,) = mixed(tmp_path)
    assert f"{CPU} (7 runs, of a, b, c, d and 3 more)" in line


def test_what_is_the_submissions_own_is_not_refused(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    own = {
        "global_batch_size": 17,
        "framework": "pytorch",
        "versions": {"jax": "0.0.1"},
        "python_version": "3.13.0",
        "os_platform": "Another OS",
        "git_commit_hash": "f" * 40,
        "rng_seed": 99,
        "workload.eval_period_time_sec": 3,
        "workload.step_hint": 9,
        "workload.test_target_value": 0.1,
    }
    for key, value in own.items():
        run(tmp_path, f"with another {key}", **{key: value})
    scores = score_tree(tmp_path, baselines=())
    assert (scores.mixed, scores.warnings) == ((), ())


def test_another_framework_is_not_refused(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]})
    folder = trial_dir(tmp_path, "b").parent
    folder.rename(folder.with_name("toy_pytorch"))
    assert score_tree(tmp_path, baselines=()).mixed == ()


def test_runs_that_say_nothing_agree(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    target = (TARGET_KEY, "workload.target_metric_name")
    for number, silent in enumerate((("cpu_model_name",), (BUDGET_KEY,), target, tuple(META))):
        for study in range(2):
            run(tmp_path, f"silent {number}", study=study, **dict.fromkeys(silent))
    scores = score_tree(tmp_path, baselines=(), num_studies=1)
    assert scores.mixed == ()
    assert set(scores.scores.values()) == {1.0}


@pytest.mark.parametrize("key", [BUDGET_KEY, TARGET_KEY])
def test_what_is_no_number_says_nothing(tmp_path: Path, key: str):
    """Nor does it differ from itself."""
    race(tmp_path, {"a": [1]})
    for value in ("60", [60], True, float("nan"), float("inf"), 10**400, {"s": 60}):
        for study in range(2):
            run(tmp_path, f"{value}"[:9], study=study, **{key: value})
    scores = score_tree(tmp_path, baselines=(), num_studies=1)
    assert scores.mixed == ()
    assert set(scores.scores.values()) == {1.0}
    assert len(scores.scores) == 8


def test_only_what_is_scored_is_compared(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]})
    run(tmp_path, "c", cpu_count=64)
    run(tmp_path, "a", "other", **{BUDGET_KEY: 1})
    run(tmp_path, "b", "other", **{BUDGET_KEY: 2})
    scores = score_tree(tmp_path, baselines=(), submissions=["a", "b"], workloads=["toy"])
    assert scores.mixed == ()


def test_runs_made_for_another_target_than_the_scored_one_are_told(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [1]}, "ogbg")
    scores = score_tree(tmp_path, targets="v0.6", num_studies=1, num_trials=1, baselines=())
    assert scores.mixed == ()
    assert (
        "ogbg: scored by mean_average_precision ≥ 0.28098, "
        "but runs were made for mean_average_precision 0.7"
    ) in scores.warnings
