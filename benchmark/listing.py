"""Every workload that this project knows, as a table: small ones, C4, AlgoPerf's own."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import workloads_overrides
from benchmark.tables import Heading
from workloads_overrides import budgets, shapes, targets

_ABSENT = "-"


@dataclass(frozen=True)
class Row:
    """One workload.

    Attributes:
      name: with its aliases, separated by commas.
      parameters: how many numbers the model has; None where the model is not known here.
      metric: of the targets.
      validation_target, test_target: None where there is none, or none that was measured.
      status: of the targets.
      budgets: by rule set, and "own" where the workload has one of its own: seconds allowed,
        seconds between evaluations, steps hinted at.
    """

    name: str
    parameters: int | None
    metric: str
    validation_target: float | None
    test_target: float | None
    status: str
    budgets: dict[str, tuple[int, int, int]]


def rows(progress: Callable[[str, float], None]) -> list[Row]:
    """All of them; `progress` is called with a name and the fraction that is done before it."""
    found = []
    names = _with_aliases()
    for number, (name, aliases) in enumerate(names.items()):
        progress(name, number / len(names))
        found.append(_own(name, aliases))
    return [*found, *_official()]


def headings() -> list[Heading]:
    return [
        Heading("workload"),
        Heading("parameters", numeric=True),
        Heading("metric"),
        Heading("validation\ntarget", numeric=True),
        Heading("test\ntarget", numeric=True),
        Heading("targets are"),
        *(Heading(f"{name}\ns / s / steps", numeric=True) for name in ("own", *budgets.RULE_SETS)),
    ]


def cells(row: Row) -> list[str]:
    """The row's texts, in the order of the headings."""
    return [
        row.name,
        _ABSENT if row.parameters is None else f"{row.parameters:,}",
        row.metric,
        *(
            _ABSENT if value is None else f"{value:.6g}"
            for value in (row.validation_target, row.test_target)
        ),
        row.status,
        *(
            " / ".join(f"{value:,}" for value in row.budgets[name])
            if name in row.budgets
            else _ABSENT
            for name in ("own", *budgets.RULE_SETS)
        ),
    ]


NOTE = (
    "Budgets: seconds of training allowed (external tuning; 1.5 times as many for self-tuning) / "
    "seconds between evaluations / steps hinted at. --rules chooses a rule set for the official "
    "harness. Targets that were not measured are not shown; see workloads_overrides/c4/README.md."
)


def _with_aliases() -> dict[str, list[str]]:
    """Every name of this project's workloads that is not an alias, with its aliases."""
    names: dict[str, list[str]] = {}
    for name in workloads_overrides.WORKLOADS:
        original = workloads_overrides.canonical(name)
        names.setdefault(original, [])
        if name != original:
            names[original].append(name)
    return names


def _own(name: str, aliases: list[str]) -> Row:
    # In PyTorch, which counts parameters without computing them.
    workload: Any = workloads_overrides.import_workload(name, "pytorch")
    measured = workload.has_measured_targets
    budget = (
        workload.max_allowed_runtime_sec,
        workload.eval_period_time_sec,
        workload.step_hint,
    )
    by_rules = _budgets(name)
    return Row(
        name=", ".join((name, *aliases)),
        parameters=workload.num_parameters(),
        metric=workload.target_metric_name,
        validation_target=workload.validation_target_value if measured else None,
        test_target=workload.test_target_value if measured else None,
        status=workload.target_status,
        # Without measured ones the workload's are those of a rule set.
        budgets=by_rules if budget in by_rules.values() else {"own": budget, **by_rules},
    )


def _official() -> Iterator[Row]:
    for name, target in targets.load().items():
        known = name in shapes.workloads()
        sizes = [math.prod(one.shape) for one in shapes.load(name, "jax")] if known else []
        yield Row(
            name=name,
            parameters=sum(sizes) if known else None,
            metric=target.target_metric_name,
            validation_target=target.validation_target_value,
            test_target=target.test_target_value,
            status="AlgoPerf's",
            budgets=_budgets(name),
        )


def _budgets(name: str) -> dict[str, tuple[int, int, int]]:
    found = {rules: budgets.load(rules).workloads.get(name) for rules in budgets.RULE_SETS}
    return {
        rules: (budget.max_allowed_runtime_sec, budget.eval_period_time_sec, budget.step_hint)
        for rules, budget in found.items()
        if budget is not None
    }
