"""Targets of AlgoPerf's official workloads and of their variants, and the pools that are scored
together by its versions: facts, with their source, in the file beside this.

Targets have not changed from version to version; budgets have, see `budgets`.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import budgets

_FILE = Path(__file__).parent / "official.json"

POOLS: tuple[str, ...] = ("v0.5", "v0.6", "2026")


@dataclasses.dataclass(frozen=True)
class OfficialTarget:
    """One workload's: `target_metric_name` without the split's prefix, the value that
    `validation/<metric>` must reach to count in scores, and that of `test/<metric>`, which the
    harness looks at besides (None: there is no test split)."""

    target_metric_name: str
    validation_target_value: float
    test_target_value: float | None


@dataclasses.dataclass(frozen=True)
class VariantTarget:
    """A variant's of a base workload; in v0.5 some of them, drawn by lot, were held out: gates."""

    base_workload: str
    target_metric_name: str
    validation_target_value: float


@dataclasses.dataclass(frozen=True)
class Pool:
    """What one version scores together.

    num_studies: required of an entry; num_trials: tuning trials per study (self-tuning: one);
    self_tuning_factor: budgets in self-tuning, times those of external tuning;
    max_allowed_runtime_sec: the latter by workload, seconds, where known.
    """

    description: str
    source: str
    base_workloads: tuple[str, ...]
    held_out_workloads: tuple[str, ...]
    num_studies: int
    num_trials: int
    self_tuning_factor: float
    max_allowed_runtime_sec: Mapping[str, float]


def load() -> dict[str, OfficialTarget]:
    """The base workloads, by name."""
    return {name: OfficialTarget(**entry) for name, entry in _content()["workloads"].items()}


def variants() -> dict[str, VariantTarget]:
    """By name."""
    return {name: VariantTarget(**entry) for name, entry in _content()["variants"].items()}


def load_pool(name: str) -> Pool:
    """The pool of one of `POOLS`. Raises ValueError (one line) for another name."""
    if name not in POOLS:
        raise ValueError(f"unknown version {name!r}; allowed: {', '.join(POOLS)}")
    entry = dict(_content()["pools"][name])
    if rule_set := entry.pop("rule_set", None):
        workloads = budgets.load(rule_set).workloads
        entry["max_allowed_runtime_sec"] = {
            workload: float(workloads[workload].max_allowed_runtime_sec)
            for workload in entry["base_workloads"]
        }
    lists = {key: tuple(entry[key]) for key in ("base_workloads", "held_out_workloads")}
    return Pool(**{**entry, **lists})


@functools.cache
def _content() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
