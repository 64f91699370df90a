"""Fixed positions of a grid of patches."""

import numpy as np


def sincos_2d(height: int, width: int, features: int, temperature: float = 1e4) -> np.ndarray:
    """Sines and cosines of x, then of y: (height * width, features) float64, row by row.

    A quarter of the features each, with frequencies from 1 to 1 / temperature, evenly spaced in
    the logarithm (as MoCo v3, arXiv:2104.02057).
    Raises ValueError unless there are 8, 12, ... features.
    """
    if features % 4 or features < 8:
        raise ValueError(f"features={features} must be a multiple of 4 and at least 8")
    frequencies = temperature ** -np.linspace(0.0, 1.0, features // 4)
    y, x = np.divmod(np.arange(height * width), width)
    angles_x, angles_y = np.outer(x, frequencies), np.outer(y, frequencies)
    waves = [np.sin(angles_x), np.cos(angles_x), np.sin(angles_y), np.cos(angles_y)]
    return np.concatenate(waves, axis=1)
