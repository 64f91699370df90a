"""Constants found in step times that were made with known ones."""

import pytest
from imagined_steps import (
    CONSTANTS,
    EXPLAINED,
    ITERATIONS,
    WORKLOADS,
    model_seconds,
    step_time,
    step_times,
)

from speed.predict.calibrate import LAUNCH, calibrate


def test_the_constants_that_made_the_steps_are_found():
    found = calibrate(step_times())
    assert found.efficiency == pytest.approx((EXPLAINED, CONSTANTS.efficiency, 1.0))
    assert found.launch.middle == pytest.approx(CONSTANTS.launch)
    assert found.factorisation == pytest.approx([CONSTANTS.factorisation] * 3)
    assert found.launch.most == LAUNCH
    assert found.caspr_iterations == pytest.approx(dict.fromkeys(WORKLOADS, ITERATIONS))
    for row in found.differences:
        assert row["fitted"] == pytest.approx(row["measured"])
        assert row["left_out"] == pytest.approx(row["measured"])


def test_one_odd_workload_shows_in_the_range_and_its_row():
    rows = [
        row._replace(seconds=row.seconds + 0.05)
        if (row.submission, row.workload) == ("shampoo_submission", "wmt")
        else row
        for row in step_times()
    ]
    found = calibrate(rows)
    assert found.factorisation.least < CONSTANTS.factorisation / 2
    assert found.factorisation.most == pytest.approx(CONSTANTS.factorisation)
    odd = next(row for row in found.differences if row["workload"] == "wmt")
    assert odd["measured"] - odd["left_out"] == pytest.approx(0.05)


def test_entries_with_other_batches_are_not_compared():
    rows = step_times()
    for name, seconds in (("schedule_free_adamw", 0.1), ("shampoo_submission", 9.0)):
        rows.append(step_time(name, "fastmri", seconds))
    assert calibrate(rows).differences == calibrate(step_times()).differences


def test_references_keep_their_order_and_nothing_else_is_one():
    rows = [*step_times(), step_time("shampoo", "wmt", 0.4, logs="new")]
    found = calibrate(rows).references
    assert [row.logs for row in found] == ["old"] * (2 * len(WORKLOADS)) + ["new"]
    assert {row.submission for row in found} == {"baseline", "schedule_free_adamw", "shampoo"}


def test_a_difference_that_other_work_explains_leaves_no_iterations():
    rows = [
        step_time(row.submission, row.workload, model_seconds(row.workload))
        if row.submission == "caspr_adaptive"
        else row
        for row in step_times()
    ]
    assert set(calibrate(rows).caspr_iterations.values()) == {0.0}


def test_what_is_missing_is_told():
    def without(*missing: str):
        return [row for row in step_times() if row.submission not in missing]

    assert calibrate(without("caspr_adaptive")).caspr_iterations == {}
    with pytest.raises(ValueError, match="none of baseline, schedule_free_adamw, shampoo is in"):
        calibrate(without("baseline", "schedule_free_adamw"))
    told = "shampoo_submission and schedule_free_adamw share 0 workloads"
    with pytest.raises(ValueError, match=told):
        calibrate(without("shampoo_submission"))
