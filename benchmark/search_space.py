"""Hyperparameters from AlgoPerf's tuning search spaces: a list of points, or ranges."""

import collections
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.log import write_json

Point = dict[str, Any]

# What every optimizer demands of these names; each optimizer's own demands are its own to check.
_POSITIVE = (lambda x: x > 0, "allowed: a number > 0")
_BETA = (lambda x: 0 <= x < 1, "allowed: a number, 0 <= beta < 1")
_ONE_MINUS_BETA = (lambda x: 0 < x <= 1, "allowed: a number, 0 < value <= 1")
_ALLOWED: dict[str, tuple[Callable[[float], bool], str]] = {
    "learning_rate": _POSITIVE,
    "beta1": _BETA,
    "beta2": _BETA,
    "one_minus_beta1": _ONE_MINUS_BETA,
    "one_minus_beta2": _ONE_MINUS_BETA,
    "refresh_every": (lambda x: x >= 1, "allowed: a number >= 1"),
}


def load(path: str | Path, num_trials: int, seed: int = 0) -> list[Point]:
    """The first `num_trials` points of a search space file, checked.

    A list of points is taken in file order, as AlgoPerf takes it. Ranges are sampled with a
    scrambled Halton sequence that `seed` determines (this project's own choice: AlgoPerf's harness
    shuffles its points without a seed).

    Raises:
        UserError: one line that names the file, the point or name, the value and what is allowed.
    """
    space = _read(path)
    if isinstance(space, list):
        points = _listed_points(path, space)
        if num_trials > len(points):
            raise UserError(
                f"{path}: {len(points)} point{'s' * (len(points) != 1)}, fewer than "
                f"--num_tuning_trials={num_trials}"
            )
        return points[:num_trials]
    return _sampled_points(path, space, num_trials, seed)


def check_list(path: str | Path, names: Iterable[str]) -> list[Point]:
    """The points of a list whose hyperparameters are `names`, so that another may join them.

    Raises:
        UserError: the file is no such list.
    """
    points = _read(path)
    names = set(names)
    if not isinstance(points, list) or set(_listed_points(path, points)[0]) != names:
        raise UserError(f"{path}: needs points of {', '.join(sorted(names))}, to put one first")
    return points


def replace_first(path: str | Path, point: Mapping[str, Any]) -> None:
    """Writes `point` in place of the first one of a list, keeping the others."""
    write_json(Path(path), [dict(point), *check_list(path, point)[1:]])


def as_hyperparameters(point: Mapping[str, Any]) -> Any:
    """The namedtuple `Hyperparameters` that AlgoPerf hands to a submission."""
    return collections.namedtuple("Hyperparameters", point)(**point)


def _read(path: str | Path) -> list[Any] | dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"tuning search space {path}: {reason}") from None
    try:
        space = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(space, list | dict) or not space:
        raise UserError(
            f"{path}: {_shown(space)} is not a search space; allowed: a list of points "
            '{"name": value, ...} or ranges {"name": {"min", "max", "scaling"} or '
            '{"feasible_points"}}'
        )
    return space


def _listed_points(path: str | Path, space: list[Any]) -> list[Point]:
    for number, point in enumerate(space, start=1):
        where = f"{path}, point {number}"
        if not isinstance(point, dict) or not point:
            raise UserError(f'{where}: {_shown(point)} is not a point {{"name": value, ...}}')
        if point.keys() != space[0].keys():
            missing = sorted(space[0].keys() - point.keys())
            extra = sorted(point.keys() - space[0].keys())
            told = [f"lacks {', '.join(missing)}"] * bool(missing)
            told += [f"has {', '.join(extra)} besides"] * bool(extra)
            raise UserError(f"{where}: {' and '.join(told)}; all points need the keys of point 1")
        for name, value in point.items():
            _check_name(where, name)
            _check_value(where, name, value)
    return space


def _sampled_points(
    path: str | Path, space: dict[str, Any], num_trials: int, seed: int
) -> list[Point]:
    from scipy.stats import qmc  # costs a second, and lists do without

    samplers = {}
    for name, choice in space.items():
        _check_name(str(path), name)
        samplers[name] = _sampler(f"{path}, {name}", name, choice)
    unit = qmc.Halton(len(samplers), scramble=True, rng=seed).random(num_trials)
    return [
        {name: sample(float(u)) for (name, sample), u in zip(samplers.items(), row, strict=True)}
        for row in unit
    ]


def _sampler(where: str, name: str, choice: Any) -> Callable[[float], Any]:
    """Maps [0, 1) to values of one hyperparameter."""
    if isinstance(choice, dict) and choice.keys() == {"feasible_points"}:
        values = choice["feasible_points"]
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: feasible_points {_shown(values)}; allowed: a list of values")
        for value in values:
            _check_value(where, name, value)
        return lambda u: values[int(u * len(values))]
    if isinstance(choice, dict) and choice.keys() == {"min", "max", "scaling"}:
        low, high, scaling = choice["min"], choice["max"], choice["scaling"]
        for value in (low, high):
            _check_value(where, name, value)
            if not _is_number(value):
                raise UserError(f"{where}: {_shown(value)}; allowed as min and max: numbers")
        if scaling not in ("linear", "log"):
            raise UserError(f"{where}: scaling {_shown(scaling)}; allowed: linear, log")
        if high < low or (scaling == "log" and low <= 0):
            raise UserError(
                f"{where}: range {low} to {high}; allowed: min <= max, and min > 0 with scaling log"
            )
        if scaling == "log":
            return lambda u: low * (high / low) ** u
        return lambda u: low + (high - low) * u
    raise UserError(
        f'{where}: {_shown(choice)}; allowed: {{"min", "max", "scaling"}} or {{"feasible_points"}}'
    )


def _check_name(where: str, name: str) -> None:
    if not name.isidentifier() or name.startswith("_"):
        raise UserError(f"{where}: {name!r} cannot name a hyperparameter; allowed: Python names")


def _check_value(where: str, name: str, value: Any) -> None:
    if isinstance(value, list | dict) or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(f"{where}: {name}={_shown(value)}; allowed: finite numbers, strings, bools")
    allowed, told = _ALLOWED.get(name, (None, ""))
    if allowed is None:
        return
    if not _is_number(value) or not allowed(value):
        raise UserError(f"{where}: {name}={_shown(value)}; {told}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
