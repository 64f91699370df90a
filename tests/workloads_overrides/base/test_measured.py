"""Targets and budgets from a file, in both directions."""

import json

import numpy as np
import pytest
from workload_fakes import concrete

from algoperf_api import spec
from workloads_overrides.base import measured
from workloads_overrides.base.measured import MeasuredWorkload

TARGETS = {
    "validation_target_value": 0.625,
    "test_target_value": 0.75,
    "max_allowed_runtime_sec": 40,
    "eval_period_time_sec": 2,
    "step_hint": 600,
    "status": "measured",
}


@pytest.fixture
def make(tmp_path):
    def workload(status="measured", **members):
        (tmp_path / "targets.json").write_text(json.dumps(TARGETS | {"status": status}))
        measured._read_targets.cache_clear()
        return concrete(MeasuredWorkload, targets_path=tmp_path / "targets.json", **members)

    return workload


def test_values_are_the_files(make):
    workload = make()
    for name in TARGETS.keys() - {"status"}:
        assert getattr(workload, name) == TARGETS[name]
    assert workload.loss_type == spec.LossType.SOFTMAX_CROSS_ENTROPY
    for name in ("train_mean", "train_stddev"):
        with pytest.raises(NotImplementedError):
            getattr(workload, name)


def test_a_placeholder_is_never_reached(make):
    values = {"validation/score": 1.0, "test/score": 1.0}
    for status, reached in (("measured", True), ("provisional", False)):
        workload = make(status, target_metric_name="score")
        assert workload.target_status == status
        assert workload.has_reached_validation_target(values) is reached
        assert workload.has_reached_test_target(values) is reached


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_target_is_reached_at_its_value(make, split, higher):
    workload = make(target_metric_name="score", higher_is_better=higher)
    target = TARGETS[f"{split}_target_value"]
    better, worse = np.nextafter(target, [1.0, 0.0] if higher else [0.0, 1.0])
    reached = getattr(workload, f"has_reached_{split}_target")

    def at(value):
        # The other splits' values must not count.
        values = {f"{name}/score": better for name in ("train", "validation", "test")}
        return reached(values | {f"{split}/score": value})

    assert at(target) is True
    assert at(float(better)) is True
    assert at(float(worse)) is False
    assert at(float("nan")) is False
    assert at(float("inf")) is higher
    assert at(float("-inf")) is not higher


def test_a_missing_metric_is_an_error(make):
    workload = make(target_metric_name="score")
    with pytest.raises(KeyError):
        workload.has_reached_validation_target({"test/score": 1.0})


def test_two_workloads_have_their_own_files(make, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(TARGETS | {"step_hint": 7}))
    assert make().step_hint == 600
    assert concrete(MeasuredWorkload, targets_path=other).step_hint == 7
