"""Makes this project's workloads known to an installed AlgoPerf, without editing it.

AlgoPerf finds a workload in the dict `algoperf.workloads.workloads.WORKLOADS` and imports
`algoperf/workloads/<workload_path>_<framework>/workload.py` as a dotted module. Here that name
leads to a stand-in which looks everything up in the real `workloads_overrides...` module when it
is first asked. So every class exists once, under one name, and no folder of this project lies in
the way of one that AlgoPerf may have some day, as the entry of `algoperf.workloads.__path__`, the
other way to do it, would.

`BASE_WORKLOADS` stays as it is: `ogbg_small` contains `ogbg`, so the harness asks a submission that
does not know `ogbg_small` for the batch size of `ogbg`, as the embedded runner does, and treats the
model as it treats that of `ogbg` under `torch.compile`. `c4` and its like contain no official name:
a submission that does not know one ends with the ValueError of its own `get_batch_size`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from .budgets import Budget, RuleSet, load
from .names import FRAMEWORKS, WORKLOADS

_REGISTRY = "algoperf.workloads.workloads"
_FOLDER = __package__


def register(rules: str | None = None) -> None:
    """Registers every workload of `WORKLOADS` with the installed `algoperf`.

    It may be called any number of times, before or after `submission_runner` is imported, and
    imports neither a workload nor a framework beyond what AlgoPerf's registry imports itself.

    Args:
        rules: a name in `budgets.RULE_SETS`. The official workloads, and the C4 ones, then get its
            `max_allowed_runtime_sec`, `eval_period_time_sec` and `step_hint`, as properties of
            their class, when the class is imported, and each change is logged; what an earlier call
            set is undone. An estimate never replaces a budget that was measured. Workloads that the
            rule set does not name, the small ones among them, keep their own; so do AlgoPerf's
            variants, unless they inherit them from a class that was imported before. None: nothing
            is changed.

    Raises:
        ModuleNotFoundError: `algoperf` is not installed.
        ValueError: one line: AlgoPerf has another workload of one of the names, or there is no such
            rule set.
    """
    rule_set = None if rules is None else load(rules)
    registry = _import_registry()
    _add_workloads(registry)
    if rule_set is not None:
        _apply(rule_set, registry)


class _Entry(dict):
    """An entry of AlgoPerf's registry made here. A copy: the harness writes into it."""


def _import_registry() -> Any:
    try:
        return importlib.import_module(_REGISTRY)
    except ModuleNotFoundError as error:
        if error.name != "algoperf":
            raise  # it is installed, and something that it needs is not
        raise ModuleNotFoundError(
            "algoperf is not installed, and workloads are registered with it; see "
            "https://github.com/mlcommons/algorithmic-efficiency",
            name="algoperf",
        ) from None


def _add_workloads(registry: Any) -> None:
    known = registry.WORKLOADS
    taken = [name for name in WORKLOADS if not isinstance(known.get(name, _Entry()), _Entry)]
    if taken:
        raise ValueError(
            f"the installed algoperf has workloads of its own named {', '.join(taken)}; rename "
            "those in workloads_overrides.WORKLOADS"
        )
    for name, entry in WORKLOADS.items():
        if name in known:
            continue
        path = entry["workload_path"]
        known[name] = _Entry(entry, workload_path=f"{_FOLDER}/{path}")
        for framework in FRAMEWORKS:
            real = f"{_FOLDER}.{path.replace('/', '.')}_{framework}.workload"
            asked = f"algoperf.workloads.{real}"
            sys.modules.setdefault(asked, _stand_in(asked, real))  # sizes of one model share it


def _stand_in(name: str, real: str) -> ModuleType:
    """A module `name` whose members are those of the module `real`, imported when first asked."""
    module = ModuleType(name, f"Stands in for {real}.")

    def member(name: str) -> Any:
        # `inspect` and others ask every module there is for `__file__` and the like.
        if name.startswith("__"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(real), name)

    def members() -> list[str]:
        return [name for name in dir(importlib.import_module(real)) if not name.startswith("__")]

    vars(module).update(__getattr__=member, __dir__=members)
    return module


def _apply(rules: RuleSet, registry: Any) -> None:
    if not isinstance(registry.import_workload, _Importer):
        registry.import_workload = _Importer(registry.import_workload)
    registry.import_workload.undo()
    registry.import_workload.rules = rules
    names: dict[str, str] = {}
    for name, entry in registry.WORKLOADS.items():
        names.setdefault(entry["workload_class_name"], name)  # a later one is an alias
    registry.import_workload.names = names
    absent = [name for name in rules.workloads if name not in registry.WORKLOADS]
    if absent:
        _log("rules %s: the installed algoperf has no %s", rules.name, ", ".join(absent))


class _Importer:
    """AlgoPerf's `import_workload`, which then sets the class's budget.

    At import, because importing all workloads beforehand would need the packages of every one.
    """

    def __init__(self, original: Any) -> None:
        self.original = original
        self.rules: RuleSet | None = None
        self.names: dict[str, str] = {}
        self.changed: list[tuple[type, str, Any]] = []

    def undo(self) -> None:
        """Gives the classes their own members back."""
        for kind, member, own in reversed(self.changed):
            if own is None:
                delattr(kind, member)  # inherited
            else:
                setattr(kind, member, own)
        self.changed.clear()

    def __call__(
        self,
        workload_path: str,
        workload_class_name: str,
        return_class: bool = False,
        workload_init_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kind = self.original(workload_path, workload_class_name, return_class=True)
        name = self.names.get(workload_class_name, workload_class_name)
        assert self.rules is not None
        budget = self.rules.workloads.get(name)
        if budget is None:
            _log("rules %s: no budget for %s, which keeps its own", self.rules.name, name)
        elif _is_estimate(budget) and _is_measured(kind):
            _log("rules %s: %s keeps its own budget, which was measured", self.rules.name, name)
        else:
            self.changed += _set_budget(kind, name, budget, self.rules.name)
        return kind if return_class else kind(**(workload_init_kwargs or {}))


def _is_estimate(budget: Budget) -> bool:
    return budget.status.startswith("provisional")


def _is_measured(kind: Any) -> bool:
    """Whether a workload's class has a budget that `scripts/set_targets.py` has measured."""
    return getattr(object.__new__(kind), "has_measured_targets", False)  # AlgoPerf's have no such


def _set_budget(kind: Any, name: str, budget: Budget, rules: str) -> list[tuple[type, str, Any]]:
    """Returns (class, member, what the class itself had there or None)."""
    changed = []
    blank = object.__new__(kind)  # AlgoPerf's budgets are constants; an instance may need much
    for member, new in budget.properties.items():
        _log("rules %s: %s.%s: %s -> %s", rules, name, member, getattr(blank, member), new)
        changed.append((kind, member, vars(kind).get(member)))
        setattr(kind, member, property(lambda _, value=new: value))
    return changed


def _log(message: str, *values: Any) -> None:
    from absl import logging  # AlgoPerf's own logger; needed only where AlgoPerf is

    logging.info(message, *values)
