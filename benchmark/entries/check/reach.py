"""Which top-level definitions of an entry serve which of AlgoPerf's functions."""

import ast
from collections.abc import Iterator

from benchmark.entries.check.entry import Entry, Module
from benchmark.entries.check.signatures import FUNCTIONS
from benchmark.entries.layout import SUBMISSION

_ASKED = "check_hyperparameters"  # of this project's submissions

# Statements that only name something; what all others read is used.
_DEFINING = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Assign,
    ast.AnnAssign,
)

Definition = tuple[str, str]  # path of the file, name at its top level


def reachable(entry: Entry, starts: set[Definition]) -> set[Definition]:
    """The definitions that `starts` use, directly or through others, and themselves."""
    found: set[Definition] = set()
    waiting = list(starts)
    while waiting:
        path, name = waiting.pop()
        if (path, name) in found or path not in entry.modules:
            continue
        found.add((path, name))
        module = entry.modules[path]
        for statement in module.top.get(name, []):
            waiting += uses(module, statement, name)
        if name not in module.top:
            stars = [item for item in module.imports if item.local == "*" and item.path]
            waiting += [(item.path or "", name) for item in stars]
    return found


def uses(module: Module, statement: ast.stmt, name: str | None = None) -> Iterator[Definition]:
    """The definitions that a top-level statement reads; of an import only what binds `name`."""
    bindings = module.bindings
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for binding in bindings.get(name or "", []):
            if binding.path and binding.attribute:
                yield binding.path, binding.attribute
        return
    top = module.top
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            for binding in bindings.get(node.value.id, []):
                if binding.path and binding.attribute is None:
                    yield binding.path, node.attr
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in top:
                yield module.path, node.id
            for binding in bindings.get(node.id, []):
                if binding.path and binding.attribute:
                    yield binding.path, binding.attribute


def only_from(entry: Entry, name: str) -> set[Definition]:
    """The definitions that serve the submission's function `name` and nothing else that runs.

    What runs besides are its other functions, and whatever importing a module runs.
    """
    mine = reachable(entry, {(SUBMISSION, name)})
    starts = {(SUBMISSION, other) for other in (*FUNCTIONS, _ASKED) if other != name}
    for module in entry.modules.values():
        for statement in module.tree.body:
            if not isinstance(statement, _DEFINING) and not _is_docstring(statement):
                starts |= set(uses(module, statement))
    return mine - reachable(entry, starts - {(SUBMISSION, name)})


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
