"""Numbers as people read them, and one look per submission."""

import math

import pytest

from benchmark.report import format as fmt
from benchmark.report.style import COLOURS, looks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.527, "0.53"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (640.77, "641"),
        (41094.6, "41,095"),
        (math.inf, "-"),
        (math.nan, "-"),
    ],
)
def test_seconds(value: float, text: str):
    assert fmt.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (30000.0, "30,000"), (1234.5, "1,234.5"), (math.inf, "-")]
)
def test_steps(value: float, text: str):
    assert fmt.steps(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.7, "0.70"), (1.0, "1.00"), (12.345, "12.35"), (math.nan, "-")]
)
def test_ratio(value: float, text: str):
    assert fmt.ratio(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7, "0.7000"), (0.123735, "0.1237"), (30.9, "30.90"), (22.2995, "22.30"), (math.nan, "-")],
)
def test_metric(value: float, text: str):
    assert fmt.metric(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(45.0, "45 s"), (119.0, "119 s"), (4430.0, "73.8 min"), (12011.0, "3.34 h"), (math.nan, "-")],
)
def test_duration(value: float, text: str):
    assert fmt.duration(value) == text


def test_score():
    assert fmt.score(0.62388) == "0.6239"


def test_a_look_does_not_depend_on_the_order():
    assert looks(["b", "a", "c"]) == looks(["c", "b", "a"])


def test_looks_differ_in_colour_and_in_black_and_white():
    names = [f"s{i:03}" for i in range(140)]
    found = list(looks(names).values())
    assert len(set(found)) == 140
    first = found[: len(COLOURS)]
    assert len({look.colour for look in first}) == len(first)
    grey = [(look.dashes, look.marker) for look in found[:20]]
    assert len(set(grey)) == 20


def contrast_to_white(colour: str) -> float:
    """WCAG's contrast ratio."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)


def test_lines_stand_out_from_white():
    assert min(map(contrast_to_white, COLOURS)) > 2


def test_line_patterns_for_svg_and_matplotlib():
    solid, dashed = (look for look in list(looks("ab").values()))
    assert solid.dasharray(2) == "none"
    assert solid.linestyle == (0, None)
    assert dashed.dasharray(2) == "10 3"
    assert dashed.linestyle == (0, (5.0, 1.5))
