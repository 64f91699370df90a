"""Budgets of AlgoPerf's official workloads, by rule set and the hardware that it is meant for.

One JSON file per rule set lies beside this module; each figure stands there with its source and
how far that source can be trusted. The small workloads have budgets of their own, measured here.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

_FOLDER = Path(__file__).parent

RULE_SETS: tuple[str, ...] = ("v0.6_8xV100", "2026_4xA100")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """The machine that times are measured on: `count` GPUs with `memory_gib` each, whose product
    name contains `gpu`."""

    gpu: str
    count: int
    memory_gib: int

    def __str__(self) -> str:
        return f"{self.count}x {self.gpu} {self.memory_gib} GiB"


@dataclasses.dataclass(frozen=True)
class Budget:
    """One workload's: seconds of training allowed (external tuning; the harness allows self-tuning
    1.5 times as many), seconds between evaluations, and the steps that schedules are laid out for.
    """

    max_allowed_runtime_sec: int
    eval_period_time_sec: int
    step_hint: int
    source: str
    status: str

    @property
    def properties(self) -> dict[str, int]:
        """The three numbers, by the names of AlgoPerf's workload properties."""
        names = ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class RuleSet:
    """A rule set's hardware and the budget of each of its workloads."""

    name: str
    description: str
    hardware: Hardware
    workloads: Mapping[str, Budget]


def load(name: str, folder: Path = _FOLDER) -> RuleSet:
    """The rule set `name`, one of `RULE_SETS`.

    Raises:
        ValueError: one line: no such rule set, or what is wrong in its file.
    """
    if name not in RULE_SETS:
        raise ValueError(f"unknown rule set {name!r}; allowed: {', '.join(RULE_SETS)}")
    path = folder / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    rules = _read(RuleSet, content, f"{path}")
    if rules.name != name:
        raise ValueError(f"{path}: name is {rules.name!r}, not {name!r}")
    hardware = _read(Hardware, rules.hardware, f"{path}: hardware")
    if not isinstance(rules.workloads, Mapping):
        raise ValueError(f"{path}: workloads={rules.workloads!r} is not a JSON object")
    budgets = {
        workload: _read(Budget, entry, f"{path}: {workload}")
        for workload, entry in rules.workloads.items()
    }
    return dataclasses.replace(rules, hardware=hardware, workloads=budgets)


_T = TypeVar("_T")


def _read(kind: type[_T], content: Any, place: str) -> _T:
    """A `kind` from a JSON object with exactly its fields; integers must be positive."""
    fields = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(content, dict) or content.keys() != fields.keys():
        raise ValueError(f"{place}: not a JSON object with exactly {', '.join(fields)}")
    for name, type_ in fields.items():
        value = content[name]
        if type_ is int and (type(value) is not int or value < 1):
            raise ValueError(f"{place}: {name}={value!r} is not a positive integer")
        if type_ is str and (not isinstance(value, str) or not value):
            raise ValueError(f"{place}: {name}={value!r} is not a text")
    return kind(**content)
