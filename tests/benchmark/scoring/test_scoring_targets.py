"""Targets from logs and from files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from log_trees import BUDGET, META, METRIC, TARGET, trial_dir, write_trial

from benchmark.errors import UserError
from benchmark.scoring.logs import Trial, find_trials, read_trial
from benchmark.scoring.targets import Target, targets_from_file, targets_from_logs


def trials(root: Path) -> list[Trial]:
    return [read_trial(where, root, []) for where in find_trials(root)]


@pytest.mark.parametrize("metric", ["wer", "loss", "ce_loss", "ppl"])
def test_lower_is_better_metrics(metric: str):
    target = Target("w", metric, 0.5)
    assert target.sign == -1
    assert str(target) == f"{metric} ≤ 0.5"


@pytest.mark.parametrize("metric", ["accuracy", "mean_average_precision", "ssim", "bleu"])
def test_higher_is_better_metrics(metric: str):
    target = Target("w", metric, 30.8491)
    assert target.sign == 1
    assert target.goal == "≥ 30.8491"
    assert target.column == f"validation/{metric}"


def test_targets_of_the_logs(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "toy"), [1.0])
    write_trial(trial_dir(tmp_path, "a", "other"), [1.0], meta={"rng_seed": 1})
    warnings: list[str] = []
    found = targets_from_logs(trials(tmp_path), warnings)
    assert found == [Target("toy", METRIC, TARGET, BUDGET)]
    assert warnings == []


def test_self_tuning_has_a_longer_budget(tmp_path: Path):
    folder = write_trial(trial_dir(tmp_path, "a"), [1.0])
    (folder / "flags_0.json").write_text(json.dumps({"tuning_ruleset": "self"}))
    (target,) = targets_from_logs(trials(tmp_path), [])
    assert target.budget == 1.5 * BUDGET


def test_one_trial_that_knows_the_target_is_enough(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", study=0), [1.0], meta=None)
    write_trial(trial_dir(tmp_path, "a", study=1), [1.0])
    (target,) = targets_from_logs(trials(tmp_path), [])
    assert target.value == TARGET


@pytest.mark.parametrize("value", [None, "0.7", math.nan])
def test_a_target_that_is_no_number_is_none(tmp_path: Path, value: Any):
    meta = {**META, "workload.validation_target_value": value}
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=meta)
    assert targets_from_logs(trials(tmp_path), []) == []


def test_disagreeing_targets_are_told_and_the_commonest_is_used(tmp_path: Path):
    for study in range(2):
        write_trial(trial_dir(tmp_path, "a", study=study), [1.0])
    other = {**META, "workload.validation_target_value": 0.9, "workload.max_allowed_runtime_sec": 7}
    write_trial(trial_dir(tmp_path, "b"), [1.0], meta=other)
    warnings: list[str] = []
    (target,) = targets_from_logs(trials(tmp_path), warnings)
    assert (target.value, target.budget) == (TARGET, BUDGET)
    assert len(warnings) == 2
    assert "runs with different targets in one pool" in warnings[0]
    assert "0.9) (1 runs)" in warnings[0]
    assert "different budgets" in warnings[1]


def test_an_unknown_metric_is_told(tmp_path: Path):
    write_trial(
        trial_dir(tmp_path, "a"), [1.0], meta={**META, "workload.target_metric_name": "wibble"}
    )
    warnings: list[str] = []
    (target,) = targets_from_logs(trials(tmp_path), warnings)
    assert target.sign == 1
    assert warnings == ["toy: unknown metric 'wibble' is taken as higher = better"]


def targets_file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "targets.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


ENTRY = {"target_metric_name": "wer", "validation_target_value": 0.25, "step_hint": 10}


def test_targets_of_a_file(tmp_path: Path):
    write_trial(trial_dir(tmp_path / "logs", "a", "toy"), [1.0])
    content = {
        "base_workloads": ["toy", "never_run"],
        "held_out_workloads": ["toy_variant"],
        "workloads": {"toy": ENTRY, "never_run": ENTRY, "toy_variant": ENTRY},
    }
    warnings: list[str] = []
    found = targets_from_file(targets_file(tmp_path, content), trials(tmp_path / "logs"), warnings)
    assert [(t.workload, t.metric, t.value) for t in found] == [
        ("toy", "wer", 0.25),
        ("never_run", "wer", 0.25),
    ]
    assert found[0].budget == BUDGET
    assert math.isnan(found[1].budget)
    assert warnings == [
        "targets.json: held-out workloads are not part of the score in this version: toy_variant"
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not a targets file"),
        ([], "not a targets file"),
        ({"workloads": {}}, "KeyError: 'base_workloads'"),
        ({"base_workloads": ["toy"], "workloads": {}}, "no target for toy"),
        ({"base_workloads": ["toy"], "workloads": {"toy": {}}}, "target_metric_name"),
        (
            {"base_workloads": ["toy"], "workloads": {"toy": {**ENTRY, **{
                "validation_target_value": "high"}}}},
            "could not convert string to float: 'high'",
        ),
    ],
)  # fmt: skip
def test_a_bad_targets_file_is_a_one_line_error(tmp_path: Path, content: Any, told: str):
    path = targets_file(tmp_path, content)
    with pytest.raises(UserError) as error:
        targets_from_file(path, [], [])
    message = str(error.value)
    assert message.startswith(f"--workload_targets={path}: ")
    assert told in message
    assert "\n" not in message


def test_an_absent_targets_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"--workload_targets=.*nope\.json: No such file"):
        targets_from_file(tmp_path / "nope.json", [], [])
