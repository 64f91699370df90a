"""The loop and the clock, on a fake clock: what is timed, when it evaluates, when it stops."""

from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trial_bench import EVAL, PREPARE, STEP, UNREACHABLE, Bench

from algoperf_api import random_utils, spec
from benchmark.trial import Rules


def test_first_evaluation_after_step_1_then_by_wall_time_since_the_last_one_ended(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=8), eval_period_time_sec=3.0, **UNREACHABLE)
    bench.run()
    assert bench.workload.evaluated_at == [1, 4, 7, 8]


def test_the_clock_runs_in_steps_and_preparation_and_stands_still_in_evaluation(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=8), eval_period_time_sec=3.0, **UNREACHABLE)
    result = bench.run()
    rows = bench.rows()
    expected = [1 * STEP + PREPARE, 4 * STEP + 2 * PREPARE, 7 * STEP + 3 * PREPARE]
    np.testing.assert_allclose(rows["score"][:3], expected)
    np.testing.assert_allclose(rows["accumulated_submission_time"], rows["score"])
    np.testing.assert_allclose(rows["accumulated_eval_time"], [EVAL, 2 * EVAL, 3 * EVAL, 4 * EVAL])
    np.testing.assert_allclose(
        rows["total_duration"], rows["score"] + rows["accumulated_eval_time"]
    )
    assert result.accumulated_submission_time == pytest.approx(8 * STEP + 4 * PREPARE)


def test_every_clock_reading_of_timed_work_waits_for_what_the_submission_returned(tmp_path):
    """Half of a step's and all of a preparation's time passes on the device only."""
    bench = Bench(tmp_path, Rules(max_global_steps=1))
    result = bench.run()
    assert result.accumulated_submission_time == pytest.approx(STEP + PREPARE)
    assert bench.backend.device_seconds == 0.0
    optimizer_states = [tree[0] for tree in bench.backend.waited_for]
    assert {"steps": 0} in optimizer_states
    assert {"steps": 1} in optimizer_states


def test_budget_is_looked_at_only_where_an_evaluation_is_due(tmp_path):
    bench = Bench(tmp_path, max_allowed_runtime_sec=5.0, eval_period_time_sec=3.0, **UNREACHABLE)
    result = bench.run()
    assert bench.workload.evaluated_at == [1, 4]
    assert (result.reason, result.global_step) == ("budget", 7)
    assert bench.trial.train_state["is_time_remaining"] is False


def test_preparation_that_spends_the_budget_leaves_no_evaluation(tmp_path):
    bench = Bench(tmp_path, max_allowed_runtime_sec=4.5, eval_period_time_sec=3.0, **UNREACHABLE)
    assert bench.run().global_step == 4  # 4 steps and 2 preparations are 4.5 s
    assert bench.workload.evaluated_at == [1]


def test_self_tuning_has_one_and_a_half_times_the_budget(tmp_path):
    rules = Rules(tuning_ruleset="self")
    bench = Bench(tmp_path, rules, max_allowed_runtime_sec=6, eval_period_time_sec=3, **UNREACHABLE)
    assert bench.run().reason == "budget"
    assert bench.workload.evaluated_at == [1, 4, 7]  # 7.75 s of 9 s


def test_stops_when_both_targets_are_met_not_at_the_first(tmp_path):
    bench = Bench(
        tmp_path,
        eval_period_time_sec=1.0,
        validation_target_value=0.7,
        test_target_value=0.7,
    )
    result = bench.run()
    rows = bench.rows()
    validation_met = int(rows[rows["validation/accuracy"] >= 0.7]["global_step"].iloc[0])
    assert result.reason == "targets_reached"
    assert validation_met < result.global_step == int(rows["global_step"].iloc[-1])
    assert (rows["test/accuracy"] >= 0.7).tolist() == [False] * (len(rows) - 1) + [True]


def test_a_target_once_met_stays_met(tmp_path):
    """The validation value falls again before the test target is met."""
    bench = Bench(tmp_path, eval_period_time_sec=1.0)
    values = iter([(0.95, 0.1), (0.1, 0.1), (0.1, 0.95)])

    def eval_model(*_: Any) -> dict[str, float]:
        validation, test = next(values)
        return {"validation/accuracy": validation, "test/accuracy": test}

    bench.workload.eval_model = eval_model
    result = bench.run()
    assert (result.reason, result.global_step) == ("targets_reached", 3)


def test_max_global_steps_ends_with_an_evaluation(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=3), eval_period_time_sec=50.0, **UNREACHABLE)
    result = bench.run()
    assert (result.reason, result.global_step) == ("max_global_steps", 3)
    assert bench.workload.evaluated_at == [1, 3]
    assert bench.trial.train_state["training_complete"] is True


def test_a_submission_may_end_training_and_is_evaluated_once_more(tmp_path):
    bench = Bench(tmp_path, eval_period_time_sec=50.0, **UNREACHABLE)
    update = bench.update_params

    def ends(**arguments: Any):
        if arguments["global_step"] == 4:
            raise spec.TrainingCompleteError
        return update(**arguments)

    bench.functions["update_params"] = ends
    result = bench.run()
    assert (result.reason, result.global_step) == ("submission_ended", 5)
    assert bench.workload.evaluated_at == [1, 5]


def test_targets_met_in_the_last_step_are_the_reason(tmp_path):
    bench = Bench(
        tmp_path, Rules(max_global_steps=1), validation_target_value=0.0, test_target_value=0.0
    )
    assert bench.run().reason == "targets_reached"


def test_eval_every_steps_evaluates_by_steps_whatever_the_clock_says(tmp_path):
    rules = Rules(max_global_steps=10, eval_every_steps=4)
    bench = Bench(tmp_path, rules, eval_period_time_sec=0.0, **UNREACHABLE)
    bench.run()
    assert bench.workload.evaluated_at == [1, 4, 8, 10]


def test_target_setting_stops_neither_at_targets_nor_at_the_budget(tmp_path):
    rules = Rules(max_global_steps=9, eval_every_steps=3, target_setting=True)
    numbers = {"validation_target_value": None, "test_target_value": None}
    bench = Bench(tmp_path, rules, max_allowed_runtime_sec=2.0, **numbers)
    result = bench.run()
    assert (result.reason, result.global_step) == ("max_global_steps", 9)
    assert bench.workload.evaluated_at == [1, 3, 6, 9]
    assert bench.shown[-1][1].target is None
    assert bench.shown[-1][1].seconds_left is None


def test_random_states_are_split_in_the_harness_order(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=2), eval_period_time_sec=0.0, **UNREACHABLE)
    queue_rngs, model_rngs = [], []
    build, init = bench.workload._build_input_queue, bench.workload.init_model_fn
    bench.workload._build_input_queue = lambda rng, *a, **k: (
        queue_rngs.append(rng) or build(rng, *a, **k)
    )
    bench.workload.init_model_fn = lambda rng: model_rngs.append(rng) or init(rng)
    bench.run(rng=(3, 4))

    random = random_utils.for_framework("pytorch")
    data, optimizer, model, rest = random.split((3, 4), 4)
    np.testing.assert_array_equal(queue_rngs, [data])
    np.testing.assert_array_equal(bench.called("init")[0]["arguments"][4], optimizer)
    np.testing.assert_array_equal(model_rngs, [model])
    for step in range(2):
        select, update, prepare, _ = random.split(random.fold_in(rest, step), 4)
        np.testing.assert_array_equal(bench.called("data")[step]["arguments"][7], select)
        np.testing.assert_array_equal(bench.called("update")[step]["rng"], update)
        np.testing.assert_array_equal(bench.called("prepare")[step]["rng"], prepare)


def test_the_submission_gets_algoperfs_arguments(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=2), **UNREACHABLE)
    bench.run()
    workload, params, model_state, hyperparameters, _ = bench.called("init")[0]["arguments"]
    assert workload is bench.workload
    assert hyperparameters == "the hyperparameters"
    assert (set(params), model_state) == ({"x"}, None)

    arguments = bench.called("data")[1]["arguments"]
    assert arguments[0] is bench.workload
    assert arguments[2] == {"steps": 1}
    assert (arguments[4], arguments[5], arguments[6]) == (None, "the hyperparameters", 1)

    update = bench.called("update")[1]
    assert update["loss_type"] is spec.LossType.MEAN_SQUARED_ERROR
    assert update["current_params_types"] == {"x": spec.ParameterType.WEIGHT}
    assert update["global_step"] == 1
    assert update["batch"]["noise"].shape == (4,)

    prepare = bench.called("prepare")[0]
    assert prepare.keys() == update.keys() - {"self", "batch"}
    assert prepare["global_step"] == 1  # counted after the step, as in the harness


def test_eval_results_hold_the_steps_and_all_logged_values(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=3), eval_period_time_sec=0.0, **UNREACHABLE)
    bench.run()
    results = bench.called("update")[2]["eval_results"]
    assert [step for step, _ in results] == [1, 2, 3]  # the list goes on after the call
    assert results[0][1].keys() >= {
        "train/accuracy",
        "validation/accuracy",
        "test/accuracy",
        "validation/num_examples",
        "score",
        "total_duration",
        "accumulated_submission_time",
        "accumulated_eval_time",
        "accumulated_logging_time",
        "accumulated_compile_time",
        "global_step",
        "preemption_count",
    }
    assert set(bench.rows().columns) == set(results[0][1])


def test_train_state_is_handed_over_read_only_where_it_is_named(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=3), eval_period_time_sec=0.0, **UNREACHABLE)
    seen: list[Any] = []
    update = bench.update_params

    def with_state(*, train_state: Any, **arguments: Any):
        seen.append((dict(train_state), train_state))
        return update(**arguments)

    bench.functions["update_params"] = with_state
    bench.run()
    first, second = seen[0][0], seen[1][0]
    assert first == {
        "validation_goal_reached": False,
        "test_goal_reached": False,
        "is_time_remaining": True,
        "last_eval_time": 0,
        "training_complete": False,
        "accumulated_submission_time": 0,
        "accumulated_eval_time": 0,
        "accumulated_logging_time": 0,
        "last_step_end_time": first["last_step_end_time"],
    }
    assert second["accumulated_submission_time"] == STEP + PREPARE
    assert second["last_eval_time"] - first["last_step_end_time"] == STEP + PREPARE + EVAL
    assert isinstance(seen[0][1], MappingProxyType)


def test_a_rank_without_a_logger_takes_the_same_steps_and_writes_nothing(tmp_path):
    numbers = {"eval_period_time_sec": 3.0, **UNREACHABLE}
    with_logger = Bench(tmp_path / "with", Rules(max_global_steps=8), **numbers)
    with_logger.folder.mkdir()
    without = Bench(tmp_path / "without", Rules(max_global_steps=8), **numbers)
    without.folder.mkdir()
    without.arguments = {"logger": None}
    assert without.run() == with_logger.run()
    assert without.workload.metrics_logger is None
    assert without.workload.evaluated_at == with_logger.workload.evaluated_at
    assert without.shown == with_logger.shown
    assert not list(without.folder.iterdir())


def test_what_ranks_agree_on_is_logged_and_decides(tmp_path):
    """Of evaluations that differ between ranks one counts."""
    bench = Bench(tmp_path, eval_period_time_sec=1.0)
    common = iter([0.1, 0.2, 0.95])

    def agree(row: dict[str, float]) -> dict[str, float]:
        value = next(common)
        return row | {"validation/accuracy": value, "test/accuracy": value}

    bench.arguments = {"agree": agree}
    result = bench.run()
    assert (result.reason, result.global_step) == ("targets_reached", 3)
    assert bench.rows()["validation/accuracy"].tolist() == [0.1, 0.2, 0.95]


def test_every_rank_reads_a_common_clock_equally_often(tmp_path):
    """Reading it is a collective: a rank that shows nothing and logs nothing must not miss one."""
    readings = []
    for name, logger in (("first", True), ("other", False)):
        bench = Bench(tmp_path / name, Rules(max_global_steps=8), **UNREACHABLE)
        bench.folder.mkdir()
        count = [0]

        def now(clock=bench.clock, count=count) -> float:
            count[0] += 1
            return clock()

        bench.arguments = {"now": now} | ({} if logger else {"logger": None})
        bench.run()
        readings.append(count[0])
    assert readings[0] == readings[1] > 2 * 8


def test_prepare_for_eval_may_be_missing(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=2))
    bench.functions["prepare_for_eval"] = None
    assert bench.run().accumulated_submission_time == pytest.approx(2 * STEP)


def test_compile_seconds_are_counted_while_the_clock_runs_only(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=2), eval_period_time_sec=0.0, **UNREACHABLE)
    update, init = bench.update_params, bench.init_optimizer_state
    evaluate = bench.workload.eval_model

    def compiling(seconds: float, function: Any) -> Any:
        def call(*positional: Any, **named: Any) -> Any:
            bench.backend.compiled += seconds
            return function(*positional, **named)

        return call

    bench.functions["update_params"] = compiling(0.5, update)
    bench.functions["prepare_for_eval"] = compiling(0.25, bench.prepare_for_eval)
    bench.functions["init_optimizer_state"] = compiling(8.0, init)
    bench.workload.eval_model = compiling(16.0, evaluate)
    result = bench.run()
    assert result.compile_time == pytest.approx(2 * 0.5 + 2 * 0.25)
    np.testing.assert_allclose(bench.rows()["accumulated_compile_time"], [0.75, 1.5])


def test_measurements_end_with_the_score_and_hold_what_the_submission_logs(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=2), eval_period_time_sec=50.0, **UNREACHABLE)
    update = bench.update_params

    def logs(**arguments: Any):
        arguments["workload"].metrics_logger.append_scalar_metrics(
            {"loss": 0.5}, arguments["global_step"]
        )
        return update(**arguments)

    bench.functions["update_params"] = logs
    result = bench.run()
    rows = pd.read_csv(tmp_path / "measurements.csv")
    assert rows["loss"].tolist()[0] == 0.5
    last = rows.iloc[-1]
    assert last["score"] == result.accumulated_submission_time
    assert (last["global_step"], last["preemption_count"]) == (2, 0)
    assert np.isnan(last["validation/accuracy"])
    assert len(bench.rows()) == 2
