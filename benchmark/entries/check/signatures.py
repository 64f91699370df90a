"""AlgoPerf's functions: there, and with the arguments that the harness hands over."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.layout import SUBMISSION

_STATE = ("workload", "current_param_container", "current_params_types", "model_state")
_REST = ("optimizer_state", "eval_results", "global_step", "rng")


@dataclass(frozen=True)
class Function:
    """One of AlgoPerf's functions.

    Attributes:
      arguments: in order.
      by_keyword: whether the harness names them; else their order counts as well.
      required: whether an entry must have it.
      may_lack: arguments that the function may leave out.
    """

    arguments: tuple[str, ...]
    by_keyword: bool = False
    required: bool = True
    may_lack: tuple[str, ...] = ()


FUNCTIONS: dict[str, Function] = {
    "get_batch_size": Function(("workload_name",)),
    "init_optimizer_state": Function(
        ("workload", "model_params", "model_state", "hyperparameters", "rng")
    ),
    "update_params": Function(
        (*_STATE, "hyperparameters", "batch", "loss_type", *_REST, "train_state"),
        by_keyword=True,
        may_lack=("train_state",),
    ),
    "prepare_for_eval": Function(
        (*_STATE, "hyperparameters", "loss_type", *_REST), by_keyword=True, required=False
    ),
    "data_selection": Function(
        (
            "workload",
            "input_queue",
            "optimizer_state",
            "current_param_container",
            "model_state",
            "hyperparameters",
            "global_step",
            "rng",
        )
    ),
}
FORBIDDEN = "get_eval_batch_size"


def check(entry: Entry) -> Iterator[Defect]:
    """Functions that are missing, forbidden, or take other arguments."""
    if entry.submission is None:
        return
    top = entry.submission.top
    for name, function in FUNCTIONS.items():
        if name not in top:
            if function.required:
                yield Defect(SUBMISSION, 0, f"no function {name}")
            continue
        # A function that some call returns is looked up by its name.
        for path, node in entry.functions(name)[:1]:
            yield from _arguments(path, node, function)
    if FORBIDDEN in top:
        line = top[FORBIDDEN][0].lineno
        yield Defect(
            SUBMISSION, line, f"{FORBIDDEN}: the rules fix the evaluation's batch size", "none"
        )


def _arguments(path: str, node: ast.FunctionDef, function: Function) -> Iterator[Defect]:
    given = node.args
    positional = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    defaults = len(given.defaults)
    required = set(positional[: len(positional) - defaults])
    keyword_only = [argument.arg for argument in given.kwonlyargs]
    required |= {
        name for name, value in zip(keyword_only, given.kw_defaults, strict=True) if value is None
    }
    wanted = ", ".join(function.arguments)
    if function.by_keyword:
        names = {*positional[len(given.posonlyargs) :], *keyword_only}
        missing = [] if given.kwarg else [n for n in function.arguments if n not in names]
        missing = [name for name in missing if name not in function.may_lack]
        extra = sorted(required - set(function.arguments))
        told = [f"lacks {', '.join(missing)}"] * bool(missing)
        told += [f"needs {', '.join(extra)} besides"] * bool(extra)
        if told:
            yield Defect(path, node.lineno, f"{node.name} {' and '.join(told)}", f"names {wanted}")
        if "train_state" in required:
            yield Defect(
                path, node.lineno, f"{node.name}: train_state has no default", "train_state=None"
            )
        return
    count = len(function.arguments)
    extra = {*positional[count:], *keyword_only} & required
    if tuple(positional[:count]) != function.arguments or extra:
        got = ", ".join([*positional, *keyword_only])
        yield Defect(path, node.lineno, f"{node.name}({got})", f"in this order {wanted}")
