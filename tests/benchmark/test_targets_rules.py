"""Targets and budget from runs with known values."""

import json
import math

import pandas as pd
import pytest

from benchmark import targets, trial_folder
from benchmark.errors import UserError
from benchmark.log import write_json
from benchmark.scoring import Target
from benchmark.targets import SettingRun
from benchmark.trial import Result


def make_run(validation, test=None, seconds=30.0, sign=1, seed=0, eval_seconds=0.45, error=""):
    """A run evaluated every 10 steps with these values."""
    steps = [10 * (index + 1) for index in range(len(validation))]
    evaluations = pd.DataFrame(
        {
            "step": steps,
            "validation": validation,
            "test": validation if test is None else test,
            "seconds": [math.nan] + [eval_seconds] * (len(steps) - 1) if steps else [],
        },
        dtype=float,
    )
    reason = "error" if error else "max_global_steps"
    result = Result("finished", reason, error, 10 * len(steps), seconds, 5.0)
    return SettingRun({"learning_rate": 0.1}, seed, result, evaluations, sign)


def test_best_is_over_all_evaluations_and_ignores_nan():
    run = make_run([0.3, math.nan, 0.7, 0.6])
    assert run.best("validation") == 0.7
    assert run.steps_to("validation", 0.6) == 30
    assert run.steps_to("validation", 0.7) == 30  # reaching exactly counts
    assert run.steps_to("validation", 0.71) is None


def test_lower_is_better_where_it_is():
    run = make_run([3.0, 2.0, 2.5], sign=-1)
    assert run.best("validation") == 2.0
    assert run.steps_to("validation", 2.5) == 20
    assert run.reaches(2.0)
    assert not run.reaches(1.9)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_run_without_values_is_the_worst_there_is(sign):
    for run in (make_run([], sign=sign, error="x"), make_run([math.nan], sign=sign)):
        assert run.best("validation") == -sign * math.inf
        assert not run.reaches(0.0)
        assert run.record()["best_validation"] is None
        assert run.record()["best_validation_step"] is None
        assert targets.ranked([run, make_run([0.1], sign=sign)])[1] is run


def test_ranked_is_stable():
    runs = [make_run([0.5], seed=1), make_run([0.9], seed=2), make_run([0.5], seed=3)]
    assert [run.rng_seed for run in targets.ranked(runs)] == [2, 1, 3]


def test_validation_target_is_the_median_and_test_target_the_worst_of_those_that_reach_it():
    repeats = [
        make_run([0.70], [0.10]),  # misses: its low test value does not count
        make_run([0.71], [0.99]),
        make_run([0.72], [0.66]),
        make_run([0.73, 0.6], [0.65, 0.69]),  # best test value at another evaluation: 0.69
        make_run([0.74], [0.68]),
    ]
    found = targets.targets(repeats, step_hint=400)
    assert found["validation_target_value"] == 0.72
    assert found["test_target_value"] == 0.66
    assert found["step_hint"] == 400


def test_targets_of_a_minimised_metric():
    losses = [(2.0, 2.3), (2.1, 2.9), (2.2, 2.2)]
    repeats = [make_run([value], [test], sign=-1) for value, test in losses]
    found = targets.targets(repeats, step_hint=1)
    assert (found["validation_target_value"], found["test_target_value"]) == (2.1, 2.9)


def test_an_even_number_of_seeds_has_a_median_between_two():
    found = targets.targets([make_run([0.6], [0.5]), make_run([0.8], [0.4])], step_hint=1)
    assert found["validation_target_value"] == pytest.approx(0.7)
    assert found["test_target_value"] == 0.4


def test_runtime_is_four_thirds_of_the_median_and_evaluations_take_15_percent():
    seconds = [29.0, 30.0, 90.0]
    repeats = [make_run([0.7, 0.8, 0.8], seconds=s, eval_seconds=0.45) for s in seconds]
    found = targets.targets(repeats, step_hint=1)
    assert found["max_allowed_runtime_sec"] == 40
    assert found["eval_period_time_sec"] == 3
    quick = targets.targets([make_run([0.7, 0.8], eval_seconds=0.001)], step_hint=1)
    assert quick["eval_period_time_sec"] == 1


def test_a_run_that_failed_counts_as_the_worst():
    failed = make_run([], error="no memory")
    repeats = [make_run([0.7]), make_run([0.8]), failed]
    assert targets.targets(repeats, 1)["validation_target_value"] == 0.7
    with pytest.raises(UserError, match="no validation target"):
        targets.targets([make_run([0.7]), failed, failed], 1)


def test_spread_tells_every_run_and_the_range_of_those_that_reach():
    found = {"validation_target_value": 0.7, "test_target_value": 0.9}
    runs = [make_run([0.7]), make_run([0.1, 0.2, 0.8]), make_run([0.6]), make_run([0.1, 0.7])]
    spread = targets.spread(runs, found)
    assert [run["steps_to_validation_target"] for run in spread["runs"]] == [10, 30, None, 20]
    assert spread["runs"][0]["steps_to_test_target"] is None
    assert spread["reached"] == 3
    assert spread["steps_to_validation_target"] == {"median": 20.0, "min": 10.0, "max": 30.0}
    json.dumps(spread, allow_nan=False)


def test_spread_when_none_reaches():
    found = {"validation_target_value": 0.7, "test_target_value": 0.9}
    spread = targets.spread([make_run([0.1])], found)
    assert spread["reached"] == 0
    assert spread["steps_to_validation_target"] == {"median": None, "min": None, "max": None}


TARGET = Target("quadratic", "accuracy", 0.0)


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "hparams.json", {"learning_rate": 0.1})
    write_json(tmp_path / "meta_data_0.json", {"rng_seed": 4})
    return tmp_path


def test_read_run_reads_a_trials_files(folder):
    (folder / "eval_measurements.csv").write_text(
        "accumulated_eval_time,global_step,test/accuracy,validation/accuracy\n"
        "9.0,1,0.1,0.2\n9.5,20,0.3,nan\n10.25,40,0.5,0.6\n"
    )
    trial_folder.write_result(folder, Result("finished", "max_global_steps", "", 40, 12.5, 3.25))
    run = targets.read_run(folder, TARGET)
    assert run.record() == {
        "hyperparameters": {"learning_rate": 0.1},
        "rng_seed": 4,
        "best_validation": 0.6,
        "best_validation_step": 40,
        "best_test": 0.5,
        "steps": 40,
        "seconds": 12.5,
        "compile_seconds": 3.25,
    }
    assert run.evaluations["seconds"].tolist()[1:] == [0.5, 0.75]
    assert math.isnan(run.evaluations["seconds"][0])


def test_read_run_of_one_that_failed_before_its_first_evaluation(folder):
    trial_folder.write_result(folder, Result("finished", "error", "not finite", 0, 0.0, 0.0))
    run = targets.read_run(folder, TARGET)
    assert run.record()["error"] == "not finite"
    assert run.record()["best_validation"] is None


def test_read_run_of_one_that_is_not_finished(folder):
    with pytest.raises(UserError, match="not finished"):
        targets.read_run(folder, TARGET)
