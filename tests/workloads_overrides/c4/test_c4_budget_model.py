"""The estimate that stands in the files of budgets, against arithmetic of its own."""

import pytest

from workloads_overrides import budgets
from workloads_overrides.c4 import budget_model
from workloads_overrides.c4.config import MODELS
from workloads_overrides.c4.sizes import SIZES, Size

each_case = pytest.mark.parametrize(
    ("name", "rules"), [(name, rules) for name in SIZES for rules in budgets.RULE_SETS]
)


def test_operations_counted_by_hand():
    size = Size(MODELS["60M"], steps=10)
    per_layer = 4 * 512 * 512 + 3 * 512 * 1376
    multiplied = 8 * per_layer + 512 * 32_000  # the head; the embedding is looked up
    # Scores and mixtures: two products of (256 x 64) and (64 x 256) in each of 8 heads, three times
    # for forward and backward, over the 256 tokens of a row.
    attention = 8 * 8 * 2 * 3 * 2 * 256 * 256 * 64 / 256
    expected = (6 * multiplied + attention) * 512 * 256
    assert budget_model.step_flops(size) == expected


def test_the_steps_of_the_published_runs():
    """0.19, 0.49 and 1.48 s per step on 4 A100: 0.5, 2.7 and 24.6 hours."""
    rate = budget_model.RATES["2026_4xA100"]
    seconds = [budget_model.step_seconds(size, rate) for size in SIZES.values()]
    assert [round(found, 2) for found in seconds] == [0.19, 0.49, 1.48]
    hours = [size.steps * s / 3600 for size, s in zip(SIZES.values(), seconds, strict=True)]
    assert [round(found, 1) for found in hours] == [0.5, 2.7, 24.6]


@each_case
def test_the_files_have_what_the_model_gives(name, rules):
    budget = budgets.load(rules).workloads[name]
    size, rate = SIZES[name], budget_model.RATES[rules]
    # Written with two or three digits.
    assert budget.max_allowed_runtime_sec == pytest.approx(
        budget_model.allowed_seconds(size, rate), rel=0.01
    )
    share = budget_model.evaluation_seconds(size, rate) / budget.eval_period_time_sec
    assert 0.09 < share < 0.13
    assert budget.step_hint == size.steps
    # A run is evaluated at least two dozen times, so that times to a target are told apart.
    assert budget.max_allowed_runtime_sec / budget.eval_period_time_sec > 20


def test_every_rule_set_has_a_rate_with_its_source():
    assert set(budget_model.RATES) == set(budgets.RULE_SETS)
    assert all(len(rate.source) > 40 for rate in budget_model.RATES.values())


@each_case
def test_a_larger_batch_or_context_takes_longer(name, rules):
    del rules
    size = SIZES[name]
    longer = Size(size.model, size.steps, context_length=512)
    assert budget_model.step_flops(longer) > 2 * budget_model.step_flops(size)
