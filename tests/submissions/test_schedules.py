"""Learning rates over steps and over the clock."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from tiny_workloads import TinyJax

from submissions.common.hyperparameters import make_run
from submissions.common.schedules import HORIZONS, SHAPES, Schedule

STEPS, BUDGET = 100, 50.0


def schedule(step_hint=STEPS, budget=BUDGET, **values: Any):
    defaults = {
        "learning_rate": 2.0,
        "warmup_factor": 0.1,
        "schedule": "cosine",
        "horizon": "step_hint",
        "decay_factor": 0.25,
    }
    return Schedule(defaults | values, step_hint, budget)


def rates_at(mine, times):
    """The rates of steps that begin at these times."""
    return [
        mine.learning_rate_at(step, {"accumulated_submission_time": time})
        for step, time in enumerate(times)
    ]


def plain(shape, progress, warmup=0.1, decay=0.25, peak=2.0):
    """The rate after the warm-up, from its definition."""
    after = (progress - warmup) / (1 - warmup)
    return (
        peak
        * {
            "cosine": (1 + math.cos(math.pi * after)) / 2,
            "linear": 1 - after,
            "trapezoidal": 1.0 if progress < 1 - decay else (1 - progress) / decay,
            "constant": 1.0,
        }[shape]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_warms_up_over_steps_and_follows_its_shape(shape):
    mine = schedule(schedule=shape)
    rates = [mine.learning_rate_at(step) for step in range(131)]
    np.testing.assert_allclose(rates[:11], 2.0 * np.arange(1, 12) / 11)
    wanted = [plain(shape, min(step / STEPS, 1.0)) for step in range(10, 131)]
    np.testing.assert_allclose(rates[10:], wanted, rtol=1e-12, atol=1e-15)
    assert rates[100] == pytest.approx(2.0 if shape == "constant" else 0.0)


def test_cosine_falls_from_the_end_of_the_warm_up_on():
    mine = schedule()
    rates = [mine.learning_rate_at(step) for step in range(131)]
    assert rates[10] == 2.0 == max(rates)
    assert rates[55] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(rates[10:101]))


@pytest.mark.parametrize("horizon", HORIZONS)
def test_without_warm_up_or_horizon(horizon):
    mine = schedule(step_hint=1, warmup_factor=0.0, horizon=horizon)
    assert mine.learning_rate_at(0) == 2.0
    assert mine.learning_rate_at(1) == pytest.approx(0.0)


@pytest.mark.parametrize("horizon", ["clock", "both"])
@pytest.mark.parametrize("seconds_per_step", [0.05, 0.5, 2.0])
def test_the_clock_ends_with_the_budget_however_fast_a_step_is(horizon, seconds_per_step):
    count = int(BUDGET / seconds_per_step)
    times = seconds_per_step * np.arange(count + 1)
    rates = rates_at(schedule(horizon=horizon, schedule="linear", warmup_factor=0.0), times)
    assert rates[-1] == pytest.approx(0.0)
    progress = 1 - np.array(rates) / 2.0
    by_steps = np.arange(count + 1) / STEPS
    np.testing.assert_allclose(progress[:6], by_steps[:6], atol=1e-12)
    share = (times[5:] - times[5]) / (BUDGET - times[5])
    wanted = by_steps[5] + (1 - by_steps[5]) * share
    if horizon == "both":
        wanted = np.minimum(np.maximum(wanted, by_steps[5:]), 1.0)
    np.testing.assert_allclose(progress[5:], wanted, atol=1e-12)


@pytest.mark.parametrize("horizon", ["clock", "both"])
def test_compilation_does_not_use_up_the_warm_up(horizon):
    """The first step takes 40 % of the budget, the third 10 %; then all go evenly."""
    times = np.cumsum([0.0, 20.0, 0.1, 5.0, *[0.1] * 249])
    assert times[-1] == pytest.approx(BUDGET)
    mine = schedule(step_hint=500, horizon=horizon, schedule="linear")
    rates = np.array(rates_at(mine, times))
    warm = int(np.argmax(rates))
    assert 20 <= warm <= 50  # a tenth of the steps that there are
    assert np.all(np.diff(rates[: warm + 1]) > 0)
    assert np.all(np.diff(rates[warm:]) < 0)
    assert np.max(np.abs(np.diff(rates))) < 3 * 2.0 / 25  # of a warm-up over 25 steps
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_both_is_whichever_is_further():
    slow = rates_at(schedule(horizon="both"), 2.0 * np.arange(26))
    fast = rates_at(schedule(horizon="both"), 0.01 * np.arange(101))
    by_steps = [schedule().learning_rate_at(step) for step in range(101)]
    np.testing.assert_array_equal(fast, by_steps)
    assert slow[25] == pytest.approx(0.0)
    assert slow[15] < by_steps[15]


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("missing", [None, {}, {"last_eval_time": 3.0}])
def test_without_a_time_it_goes_by_steps(horizon, missing):
    mine = schedule(horizon=horizon)
    by_steps = [schedule().learning_rate_at(step) for step in (0, 5, 50, 100)]
    assert [mine.learning_rate_at(step, missing) for step in (0, 5, 50, 100)] == by_steps


@pytest.mark.parametrize("horizon", HORIZONS)
def test_never_goes_back(horizon):
    """Not when times are missing, equal, or earlier than before."""
    rng = np.random.default_rng(3)
    mine = schedule(horizon=horizon, schedule="linear", warmup_factor=0.0)
    rates = []
    for step in range(120):
        time = rng.uniform(0, BUDGET * 1.2)
        state = [None, {}, {"accumulated_submission_time": time}][rng.integers(3)]
        rates.append(mine.learning_rate_at(step, state))
    assert all(a >= b for a, b in itertools.pairwise(rates))
    assert min(rates) >= 0


@pytest.mark.parametrize("horizon", HORIZONS)
def test_goes_on_from_a_checkpoint(horizon):
    times = np.cumsum([0.0, 9.0, *[0.4] * 90])
    whole = rates_at(schedule(horizon=horizon), times)
    first, second = schedule(horizon=horizon), schedule(horizon=horizon)
    rates_at(first, times[:40])
    second.load_state_dict(first.state_dict())
    rest = [
        second.learning_rate_at(step, {"accumulated_submission_time": times[step]})
        for step in range(40, len(times))
    ]
    assert rest == whole[40:]


def test_goes_on_without_its_state_from_the_time_that_was_used():
    """As in JAX, whose checkpoints leave out what is static."""
    mine = schedule(horizon="clock", schedule="linear", warmup_factor=0.0)
    rate = mine.learning_rate_at(40, {"accumulated_submission_time": 0.8 * BUDGET})
    assert rate == pytest.approx(2.0 * 0.2)


def test_the_budget_is_the_workloads_and_longer_in_self_tuning():
    workload: Any = TinyJax()
    given = {"learning_rate": 1.0, "warmup_factor": 0.0, "horizon": "clock", "schedule": "linear"}
    external = make_run("adamw", given).schedule(workload)
    own = make_run("adamw", None)
    self_tuning = Schedule(
        dict(own.values) | given, workload.step_hint, own.schedule(workload)._budget
    )
    state = {"accumulated_submission_time": 75.0}
    assert external.learning_rate_at(30, state) == pytest.approx(0.25)
    assert self_tuning.learning_rate_at(30, state) == pytest.approx(0.5)
