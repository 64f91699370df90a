"""What a running trial shows, and what its result says."""

from typing import Any

import pytest
from trial_bench import PREPARE, STEP, UNREACHABLE, Bench

from benchmark.trial import Rules


def test_progress_is_shown_at_most_twice_a_second_and_after_evaluations(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=40), max_allowed_runtime_sec=80.0, **UNREACHABLE)
    advance = bench.clock.advance
    bench.clock.advance = lambda seconds: advance(seconds / 10)  # ten steps a second
    bench.run()
    times = [time for time, _ in bench.shown]
    steps = [shown.step for _, shown in bench.shown]
    evaluated = bench.workload.evaluated_at
    assert set(evaluated) <= set(steps)
    between = [
        later - earlier
        for earlier, later, step in zip(times, times[1:], steps[1:], strict=False)
        if step not in evaluated
    ]
    assert between
    assert min(between) >= 0.5


def test_what_progress_shows(tmp_path):
    rules = Rules(max_global_steps=10)
    bench = Bench(tmp_path, rules, max_allowed_runtime_sec=40.0, **UNREACHABLE)
    update = bench.update_params

    def logs(**arguments: Any):
        bench.logger.append_scalar_metrics({"loss": 0.25}, arguments["global_step"])
        return update(**arguments)

    bench.functions["update_params"] = logs
    bench.run()
    first = bench.shown[0][1]
    assert (first.step, first.loss) == (1, 0.25)
    assert first.metric == bench.rows()["validation/accuracy"][0]
    assert first.target == 2.0
    assert first.done == pytest.approx(0.1)  # of the steps; of the budget it is less
    assert first.seconds_left == pytest.approx(40 - STEP - PREPARE)
    text = str(first)
    for part in ("step 1 ", "loss 0.2500", "validation 0.", "of 2.0000", "39 s left"):
        assert part in text
    assert bench.shown[-1][1].done == 1.0


def test_a_placeholder_is_not_shown_as_a_target(tmp_path):
    bench = Bench(tmp_path, Rules(max_global_steps=3), **UNREACHABLE)
    bench.workload.has_measured_targets = False
    bench.run()
    assert [shown.target for _, shown in bench.shown] == [None] * len(bench.shown)
    assert " of " not in str(bench.shown[0][1])


def test_what_a_submission_raises_comes_through_and_the_result_says_how_far_it_got(tmp_path):
    bench = Bench(tmp_path, eval_period_time_sec=50.0)
    update = bench.update_params

    def fails(**arguments: Any):
        if arguments["global_step"] == 3:
            raise FloatingPointError("not finite")
        return update(**arguments)

    bench.functions["update_params"] = fails
    with pytest.raises(FloatingPointError):
        bench.run()
    result = bench.trial.result("finished", "error", "not finite")
    assert (result.global_step, result.reason) == (3, "error")
    assert str(result) == "error at step 3: not finite"
    assert result.accumulated_submission_time == pytest.approx(3 * STEP + PREPARE)


@pytest.mark.parametrize(("skipped", "told"), [(0.0, ""), (3.0, "skipped_updates 3")])
def test_the_result_tells_of_updates_that_the_submission_skipped(tmp_path, skipped, told):
    bench = Bench(tmp_path, Rules(max_global_steps=2), **UNREACHABLE)
    plain = bench.functions["prepare_for_eval"]

    def prepare_for_eval(**arguments: Any) -> Any:
        counted = {"skipped_updates": skipped, "failed_roots": 0.0}
        bench.logger.append_scalar_metrics(counted, arguments["global_step"])
        return plain(**arguments)

    bench.functions["prepare_for_eval"] = prepare_for_eval
    result = bench.run()
    assert result.message == told
    assert str(result).endswith(f"; {told}" if told else "(compiling 0.0 s)")
