"""Numbers as people read them; what is unknown, absent or never reached is a dash."""

import math
from collections.abc import Iterable

NONE = "-"
NEVER = "never"


def seconds(value: float) -> str:
    """Four digits at least: 0.53, 12.3, 345, 12,345."""
    if not math.isfinite(value):
        return NONE
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"


def seconds_range(low: float, high: float) -> str:
    """`30.0 to 50.0`; a study that did not reach the target makes it `30.0 to never`."""
    if not math.isfinite(low):
        return NONE
    return f"{seconds(low)} to {NEVER if math.isinf(high) else seconds(high)}"


def steps(value: float) -> str:
    """Whole steps; the median of an even number of studies may lie half-way between two."""
    if not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NONE


def with_interval(value: float, low: float, high: float) -> str:
    """A ratio and its interval, `0.75 (0.70 to 0.80)`, which is left out if it is unknown or a
    point: of one study, or of a submission beside itself."""
    known = math.isfinite(value) and math.isfinite(low) and math.isfinite(high)
    if not known or math.isclose(low, high):
        return ratio(value)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def score(value: float) -> str:
    return f"{value:.4f}"


def metric(value: float) -> str:
    """Four significant digits."""
    return f"{value:#.4g}" if math.isfinite(value) else NONE


def exact(value: float) -> str:
    """Six significant digits, as targets are given."""
    return f"{value:.6g}" if math.isfinite(value) else NONE


def difference(value: float) -> str:
    """Two significant digits, for how far a value is off another."""
    return f"{value:.2g}" if math.isfinite(value) else NONE


def percent(part: float) -> str:
    """Two significant digits at least: `0.13 %`, `4.1 %`, `100 %`."""
    size = abs(100 * part)
    return f"{100 * part:.{0 if size >= 10 else 1 if size >= 1 else 2}f} %"


def duration(value: float) -> str:
    """A rounded length of time with its unit, for captions: 45 s, 12 min, 3.3 h."""
    if not math.isfinite(value):
        return NONE
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (math.inf, "h", 3600)):
        if value < limit:
            return f"{value / size:.3g} {unit}"
    raise AssertionError(value)


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 study`, `3 studies`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def runs_of_numbers(numbers: Iterable[int]) -> str:
    """Whole numbers, sorted, neighbours as a range: `0 to 2, 5`."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in spans)
