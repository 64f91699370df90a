"""What an entry must leave alone: environment variables, and the path that Python imports from."""

import ast
from collections.abc import Iterator

from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry

_CHANGING = {"update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__"}
_LISTS = {"append", "insert", "extend", "remove", "pop", "clear"}
_ALLOWED = "reading; AlgoPerf sets them"
# Code that no syntax tree shows.
_HIDDEN = {"import_module", "__import__", "exec", "eval", "run_path", "run_module"}


def check(entry: Entry) -> Iterator[Defect]:
    """Writes to `os.environ` and `sys.path`, and code that is made at run time."""
    for path, node in entry.trees():
        line = getattr(node, "lineno", 0)
        for target in _changed(node):
            if _is(target, "environ"):
                yield Defect(path, line, "sets an environment variable", _ALLOWED)
            elif _is(target, "path", "sys"):
                yield Defect(path, line, "changes sys.path", "imports from the entry's folder")
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            owner = getattr(getattr(node.func, "value", None), "id", None)
            if name in ("putenv", "unsetenv"):
                yield Defect(path, line, "sets an environment variable", _ALLOWED)
            if name in _HIDDEN and owner in (None, "importlib", "builtins", "runpy"):
                yield Defect(path, line, f"{name}: code that no check reads", fatal=False)


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """The objects that a statement or call changes in place."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in _CHANGING | _LISTS:
            yield node.func.value
        return
    for target in targets:
        yield target.value if isinstance(target, ast.Subscript) else target


def _is(node: ast.AST, name: str, owner: str | None = None) -> bool:
    """Whether `node` is `name`, or `owner.name`, of any owner where none is given."""
    if isinstance(node, ast.Attribute) and node.attr == name:
        return owner is None or getattr(node.value, "id", None) == owner
    return owner is None and isinstance(node, ast.Name) and node.id == name
