"""Metrics of a split against the definitions, written out."""

import numpy as np
import pytest

from workloads_overrides.small.ogbg.metrics import mean_average_precision, split_metrics


def average_precision(truth, scores):
    """Sum over thresholds, from the highest score down, of precision times the rise in recall."""
    truth = truth.astype(np.float64)
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        found = truth[chosen].sum()
        total += found / chosen.sum() * (found / truth.sum() - recall)
        recall = found / truth.sum()
    return total


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 6)).astype(np.float32)
    logits[:, 2] = np.round(logits[:, 2])  # ties
    targets = rng.integers(0, 2, (50, 6)).astype(np.float32)
    weights = rng.integers(0, 2, (50, 6)).astype(np.float32)
    losses = rng.random((50, 6)).astype(np.float32)
    return logits, losses, targets, weights


def test_against_the_definitions(arrays):
    logits, losses, targets, weights = arrays
    rows = weights.astype(bool)
    result = split_metrics(*arrays)
    precisions = [average_precision(targets[r, i], logits[r, i]) for i, r in enumerate(rows.T)]
    assert result["mean_average_precision"] == pytest.approx(np.mean(precisions), abs=1e-12)
    assert result["loss"] == pytest.approx(losses[rows].astype(float).mean(), rel=1e-12)
    right = [(x > 0) == (y == 1) for x, y in zip(logits[rows], targets[rows], strict=True)]
    assert result["accuracy"] == np.mean(right)
    assert set(result) == {"loss", "accuracy", "mean_average_precision"}
    assert all(type(value) is float for value in result.values())


def test_unmeasured_labels_and_padding_rows_do_not_count(arrays):
    logits, losses, targets, weights = arrays
    expected = split_metrics(*arrays)
    hidden = weights == 0
    garbage = [np.where(hidden, value, x) for x, value in zip(arrays[:3], (1e9, 7, 1), strict=True)]
    assert split_metrics(*garbage, weights) == expected
    padded = [np.concatenate([x, np.ones((9, 6), np.float32)]) for x in (logits, losses, targets)]
    padded_weights = np.concatenate([weights, np.zeros((9, 6), np.float32)])
    assert split_metrics(*padded, padded_weights) == expected


def test_the_order_of_rows_does_not_matter(arrays):
    order = np.random.default_rng(1).permutation(50)
    shuffled = split_metrics(*(array[order] for array in arrays))
    assert shuffled == pytest.approx(split_metrics(*arrays), rel=1e-12)


def test_only_labels_with_both_classes_among_the_measured_rows_count(arrays):
    logits, _, targets, weights = arrays
    rows = weights.astype(bool)
    everything = [average_precision(targets[r, i], logits[r, i]) for i, r in enumerate(rows.T)]
    targets[rows[:, 0], 0] = 1  # only positives measured, negatives among the others
    targets[~rows[:, 0], 0] = 0
    targets[:, 1] = 0
    rows[:, 3] = False
    result = mean_average_precision(logits, targets, rows)
    assert result == pytest.approx(np.mean([everything[i] for i in (2, 4, 5)]), abs=1e-12)


def test_perfect_and_reversed_rankings():
    targets = np.tile([[0.0], [1.0]], (10, 3)).astype(np.float32)
    rows = np.ones_like(targets, bool)
    assert mean_average_precision(targets, targets, rows) == 1.0
    expected = sum(k / (10 + k) for k in range(1, 11)) / 10
    scores = -targets - 0.01 * np.arange(20)[:, None]
    assert mean_average_precision(scores, targets, rows) == pytest.approx(expected)


def test_saturated_logits_still_rank():
    """Their probabilities would all be 1 in float32."""
    logits = np.array([[40.0], [30.0], [50.0], [20.0]], np.float32)
    targets = np.array([[1.0], [0.0], [1.0], [0.0]], np.float32)
    assert mean_average_precision(logits, targets, np.ones((4, 1), bool)) == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_that_diverged_gets_nan_and_no_error(arrays, value):
    logits, losses, targets, weights = arrays
    logits[np.argmax(weights[:, 0]), 0] = value
    assert all(np.isnan(x) for x in split_metrics(logits, losses, targets, weights).values())


def test_nothing_measured(arrays):
    *values, weights = arrays
    assert all(np.isnan(x) for x in split_metrics(*values, 0 * weights).values())


def test_no_label_with_both_classes(arrays):
    logits, losses, targets, weights = arrays
    result = split_metrics(logits, losses, 0 * targets, weights)
    assert np.isnan(result["mean_average_precision"])
    assert 0 < result["loss"] < 1
