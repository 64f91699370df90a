"""Sinusoidal encodings of positions (arXiv 1706.03762), in the order that AlgoPerf's WMT uses."""

import functools

import numpy as np


@functools.cache
def sinusoids(length: int, features: int) -> np.ndarray:
    """(length, features) float64: first all sines, then all cosines.

    Their frequencies fall geometrically from 1 to 1 / 10,000. Raises ValueError unless `features`
    is an even number of at least 4.
    """
    if features % 2 or features < 4:
        raise ValueError(f"features={features} must be even and at least 4")
    frequencies = np.geomspace(1.0, 1e-4, features // 2)
    angles = np.arange(length)[:, None] * frequencies
    encodings = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    encodings.flags.writeable = False
    return encodings
