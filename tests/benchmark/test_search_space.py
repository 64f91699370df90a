"""Search spaces: points in order, reproducible samples, and one line for every mistake."""

import json
import math
from typing import Any

import pytest

from benchmark import search_space
from benchmark.errors import UserError

POINT = {"learning_rate": 0.1, "beta1": 0.9, "graft": "adam", "nesterov": True}


@pytest.fixture
def write(tmp_path):
    def write_file(content: Any) -> str:
        path = tmp_path / "space.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write_file


def load_error(path: str, num_trials: int = 1) -> str:
    with pytest.raises(UserError) as caught:
        search_space.load(path, num_trials)
    message = str(caught.value)
    assert "\n" not in message
    assert path in message
    return message.replace(path, "FILE")


def test_a_list_is_taken_in_file_order(write):
    points = [POINT | {"learning_rate": rate} for rate in (0.3, 0.1, 0.2)]
    assert search_space.load(write(points), 2) == points[:2]


def test_hyperparameters_are_a_namedtuple_in_the_order_of_the_file(write):
    hyperparameters = search_space.as_hyperparameters(search_space.load(write([POINT]), 1)[0])
    assert type(hyperparameters).__name__ == "Hyperparameters"
    assert hyperparameters._asdict() == POINT
    assert hyperparameters.graft == "adam"


RANGES = {
    "learning_rate": {"min": 1e-4, "max": 1e-2, "scaling": "log"},
    "weight_decay": {"min": -1.0, "max": 3.0, "scaling": "linear"},
    "dropout_rate": {"feasible_points": [0.0, 0.1, "none"]},
}


def test_ranges_are_sampled_reproducibly(write):
    path = write(RANGES)
    points = search_space.load(path, 64, seed=3)
    assert points == search_space.load(path, 64, seed=3)
    assert points[:8] == search_space.load(path, 8, seed=3)  # more trials extend the list
    assert points != search_space.load(path, 64, seed=4)


def test_samples_cover_their_ranges_evenly(write):
    points = search_space.load(write(RANGES), 64)
    rates = [math.log10(point["learning_rate"]) for point in points]
    decays = [point["weight_decay"] for point in points]
    assert -4 <= min(rates) < -3.9
    assert -2.1 < max(rates) <= -2
    assert sum(rate < -3 for rate in rates) == pytest.approx(32, abs=3)
    assert -1 <= min(decays) < -0.9
    assert 2.9 < max(decays) <= 3
    chosen = [point["dropout_rate"] for point in points]
    for value in (0.0, 0.1, "none"):
        assert chosen.count(value) == pytest.approx(64 / 3, abs=3)


def test_the_target_setting_space_is_valid():
    from benchmark.target_setting import SEARCH_SPACE

    for point in search_space.load(SEARCH_SPACE, 20):
        assert 1e-4 <= point["learning_rate"] <= 1e-2


def test_a_missing_file(tmp_path):
    assert load_error(str(tmp_path / "none.json")) == (
        "tuning search space FILE: No such file or directory"
    )


def test_not_json_names_file_and_line(write):
    assert load_error(write('[\n  {"learning_rate": 0.1,}\n]')).startswith("FILE, line 2: not JSON")


@pytest.mark.parametrize("content", ["3", '"adam"', "[]", "{}", "null"])
def test_neither_points_nor_ranges(write, content):
    message = load_error(write(content))
    assert message.startswith(f"FILE: {content} is not a search space; allowed: ")


def test_unequal_keys_name_the_point_and_the_keys(write):
    points = [POINT, POINT, {"learning_rate": 0.1, "graft": "adam", "nesterov": True, "beta": 0.9}]
    assert load_error(write(points)) == (
        "FILE, point 3: lacks beta1 and has beta besides; all points need the keys of point 1"
    )


def test_every_point_is_checked_even_those_not_taken(write):
    assert "point 2" in load_error(write([POINT, POINT | {"learning_rate": -1}]), num_trials=1)


def test_a_point_that_is_none(write):
    assert load_error(write([POINT, [1]])).startswith("FILE, point 2: [1] is not a point")


def test_too_few_points(write):
    assert load_error(write([POINT]), 5) == "FILE: 1 point, fewer than --num_tuning_trials=5"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("learning_rate", 0, "a number > 0"),
        ("learning_rate", -0.1, "a number > 0"),
        ("learning_rate", "0.1", "a number > 0"),
        ("learning_rate", True, "a number > 0"),
        ("learning_rate", None, "a number > 0"),
        ("beta1", 1.0, "a number, 0 <= beta < 1"),
        ("beta2", -0.1, "a number, 0 <= beta < 1"),
        ("one_minus_beta1", 0.0, "a number, 0 < value <= 1"),
        ("one_minus_beta2", 1.5, "a number, 0 < value <= 1"),
        ("refresh_every", -10, "a number >= 1"),
        ("refresh_every", 0, "a number >= 1"),
        ("weight_decay", math.inf, "finite numbers, strings, bools"),
        ("weight_decay", math.nan, "finite numbers, strings, bools"),
        ("weight_decay", [0.1], "finite numbers, strings, bools"),
    ],
)
def test_values_out_of_range(write, name, value, allowed):
    point = {"learning_rate": 0.1, name: value}
    told = json.dumps(value)
    assert load_error(write([point])) == f"FILE, point 1: {name}={told}; allowed: {allowed}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("beta1", 0), ("one_minus_beta1", 1.0), ("refresh_every", 1), ("grad_clip", None)],
)
def test_values_at_the_edge_of_their_range(write, name, value):
    assert search_space.load(write([{name: value}]), 1) == [{name: value}]


@pytest.mark.parametrize("name", ["learning rate", "_private", "1st", ""])
def test_names_that_python_cannot_hold(write, name):
    assert "cannot name a hyperparameter" in load_error(write([{name: 1}]))


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"min": 1, "max": 2}, "allowed: "),
        ([1, 2], "allowed: "),
        ({"min": 1, "max": 2, "scaling": "cubic"}, 'scaling "cubic"; allowed: linear, log'),
        ({"min": 2, "max": 1, "scaling": "linear"}, "range 2 to 1; allowed: min <= max"),
        ({"min": 0, "max": 1, "scaling": "log"}, "range 0 to 1; allowed: min <= max, and min > 0"),
        ({"min": "a", "max": 1, "scaling": "log"}, 'weight_decay: "a"; allowed as min and max'),
        ({"feasible_points": []}, "feasible_points []; allowed: a list of values"),
        ({"feasible_points": 0.1}, "feasible_points 0.1; allowed: a list of values"),
    ],
)
def test_bad_ranges(write, choice, told):
    message = load_error(write({"learning_rate": RANGES["learning_rate"], "weight_decay": choice}))
    assert message.startswith("FILE, weight_decay: ")
    assert told in message


def test_ranges_keep_to_what_a_name_allows(write):
    message = load_error(write({"beta1": {"min": 0.5, "max": 1.5, "scaling": "linear"}}))
    assert message == "FILE, beta1: beta1=1.5; allowed: a number, 0 <= beta < 1"


def test_replace_first_keeps_the_other_points(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(json.dumps([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]))
    search_space.replace_first(path, {"b": "z", "a": 3})
    assert json.loads(path.read_text()) == [{"a": 3, "b": "z"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize("content", [[{"a": 1}], [{"a": 1, "b": 2, "c": 3}], {"a": {}}])
def test_replace_first_refuses_a_list_of_other_names(tmp_path, content):
    path = tmp_path / "space.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"space.json: needs points of a, b, to put one first"):
        search_space.replace_first(path, {"a": 1, "b": 2})
    assert json.loads(path.read_text()) == content
