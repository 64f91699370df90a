"""Numbers as people read them; what is unknown, absent or never reached is a dash."""

import math

NONE = "-"


def seconds(value: float) -> str:
    """Four digits at least: 0.53, 12.3, 345, 12,345."""
    if not math.isfinite(value):
        return NONE
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"


def steps(value: float) -> str:
    """Whole steps; the median of an even number of studies may lie half-way between two."""
    if not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NONE


def score(value: float) -> str:
    return f"{value:.4f}"


def metric(value: float) -> str:
    """Four significant digits."""
    return f"{value:#.4g}" if math.isfinite(value) else NONE


def duration(value: float) -> str:
    """A rounded length of time with its unit, for captions: 45 s, 12 min, 3.3 h."""
    if not math.isfinite(value):
        return NONE
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (math.inf, "h", 3600)):
        if value < limit:
            return f"{value / size:.3g} {unit}"
    raise AssertionError(value)
