"""Numbers as people read them."""

import math

import pytest

from benchmark.report import format as fmt


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


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (30.0, 50.0, "30.0 to 50.0"),
        (30.0, math.inf, "30.0 to never"),
        (math.inf, math.inf, "-"),
        (math.nan, math.nan, "-"),
    ],
)
def test_seconds_range(low: float, high: float, text: str):
    assert fmt.seconds_range(low, high) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.75, 0.7, 0.8), "0.75 (0.70 to 0.80)"),
        ((0.75, math.nan, math.nan), "0.75"),
        ((0.75, 0.75, 0.75), "0.75"),
        ((0.75, 0.7499, 0.7501), "0.75 (0.75 to 0.75)"),
        ((math.inf, 1.2, 2.0), "-"),
        ((math.nan, 1.2, 2.0), "-"),
    ],
)
def test_with_interval(values: tuple[float, float, float], text: str):
    assert fmt.with_interval(*values) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0004, "0.04 %"),
        (0.00134, "0.13 %"),
        (0.0412, "4.1 %"),
        (0.996, "100 %"),
        (1.5, "150 %"),
    ],
)
def test_percent(part: float, text: str):
    assert fmt.percent(part) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.00134, "0.0013"), (0.82, "0.82"), (12.34, "12"), (math.nan, "-")]
)
def test_difference(value: float, text: str):
    assert fmt.difference(value) == text


def test_exact():
    assert fmt.exact(0.0889097123) == "0.0889097"
    assert fmt.exact(math.nan) == "-"


def test_counted():
    assert fmt.counted(1, "study", "studies") == "1 study"
    assert fmt.counted(14000, "run") == "14,000 runs"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([2, 0, 1, 1], "0 to 2"), ([0, 1, 5, 7, 8], "0 to 1, 5, 7 to 8")],
)
def test_runs_of_numbers(numbers: list[int], text: str):
    assert fmt.runs_of_numbers(numbers) == text
