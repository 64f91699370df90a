"""Binary labels from measured values, by thresholds that only training rows have a say in."""

import numpy as np

from .source import PROPERTIES

QUANTILES: tuple[float, ...] = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
LABEL_NAMES: tuple[str, ...] = tuple(f"{name}>q{q:g}" for name in PROPERTIES for q in QUANTILES)
NUM_LABELS = len(LABEL_NAMES)


def thresholds(train_values: np.ndarray) -> np.ndarray:
    """Quantiles of the measured values: (n, properties) with NaN -> (properties, 6), float64."""
    return np.nanquantile(train_values, QUANTILES, axis=0).T


def labels(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """1 where a value exceeds the limit, else 0; NaN where unmeasured.

    Args:
        values: (n, properties) float64, NaN where unmeasured.
        limits: (properties, 6) float64.

    Returns:
        (n, 30) float32 in the order of LABEL_NAMES.
    """
    exceeds = (values[:, :, None] > limits[None]).astype(np.float32)
    exceeds[np.isnan(values)] = np.nan
    return exceeds.reshape(len(values), -1)
