"""Metrics over a whole split from every molecule's logits: exact, however batches were cut."""

import numpy as np
from sklearn.metrics import average_precision_score


def split_metrics(
    logits: np.ndarray, losses: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """Loss, accuracy and mean average precision over the measured labels.

    Args:
        logits, losses, targets: (rows, labels) float32; rows of padding may be among them.
        weights: (rows, labels) float32, not 0 where the label was measured.

    Returns:
        loss: mean of `losses`; accuracy: share of labels with a logit on the right side of 0;
        mean_average_precision: see below. Floats; NaN where a logit is not finite or no label
        has what the metric needs.
    """
    measured = weights != 0
    count = measured.sum()
    if count == 0 or not np.isfinite(logits[measured]).all():
        return {"loss": np.nan, "accuracy": np.nan, "mean_average_precision": np.nan}
    correct = (logits > 0) == (targets > 0)
    return {
        "loss": float(losses[measured].sum(dtype=np.float64) / count),
        "accuracy": float(correct[measured].sum() / count),
        "mean_average_precision": mean_average_precision(logits, targets, measured),
    }


def mean_average_precision(logits: np.ndarray, targets: np.ndarray, measured: np.ndarray) -> float:
    """Mean over labels of the average precision, as OGB's evaluator has it.

    A label counts if both classes are among its measured rows; NaN if none does. The logits
    themselves are ranked: probabilities in float32 would tie where they saturate.
    """
    precisions = []
    for label in range(targets.shape[1]):
        rows = measured[:, label]
        truth = targets[rows, label]
        if truth.size and truth.min() < truth.max():
            precisions.append(average_precision_score(truth, logits[rows, label]))
    return float(np.mean(precisions)) if precisions else np.nan
