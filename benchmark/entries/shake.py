"""Files cut down to what is used: packages' `__init__` to some names, the registry to one row."""

import ast
from collections.abc import Iterator

from benchmark.entries.edits import Edits
from benchmark.errors import UserError


def shake(text: str, names: set[str]) -> str:
    """Of a package's `__init__`, the statements that bind `names`, and what those need.

    Without any names nothing is left, not even the docstring, which tells of what is gone.

    Raises:
      UserError: one of the names is not bound at the top level.
    """
    if not names:
        return ""
    tree = ast.parse(text)
    known = {name for statement in tree.body for name in bound(statement)}
    if missing := names - known:
        raise UserError(f"no {', '.join(sorted(missing))} at the top level of this module")
    kept = set(names)
    while (
        more := {
            name
            for statement in tree.body
            if bound(statement) & kept and not isinstance(statement, ast.ImportFrom)
            for name in _loaded(statement) & known
        }
        - kept
    ):
        kept |= more
    edits = Edits(text)
    for index, statement in enumerate(tree.body):
        if index == 0 and ast.get_docstring(tree) is not None:
            continue
        if "__all__" in bound(statement) and isinstance(statement, ast.Assign):
            _keep_entries(edits, statement.value, kept)
        elif not bound(statement) & kept:
            edits.remove_lines(statement)
        elif isinstance(statement, ast.ImportFrom):
            _keep_aliases(edits, statement, kept)
    return edits.apply()


def keep_row(text: str, table: str, name: str) -> str:
    """Of the sequence of calls `Row("name", ...)` in the assignment to `table`, only one row.

    Raises:
      UserError: there is no such row.
    """
    tree = ast.parse(text)
    edits = Edits(text)
    for statement in tree.body:
        if table not in bound(statement):
            continue
        for node in ast.walk(statement):
            rows = node.elts if isinstance(node, ast.Tuple | ast.List) else []
            for row in rows:
                if _first_argument(row) == name:
                    start, end = edits.start(rows[0]), edits.end(rows[-1])
                    edits.replace(start, end, edits.segment(row) + ",")
                    if "," in edits.between(end, edits.end(node)):
                        edits.replace(end, edits.end(node) - 1, "")
                    return edits.apply()
    raise UserError(f"no row {name!r} in {table}")


def bound(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return set(_targets(statement))
    return set()


def _targets(statement: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _loaded(statement: ast.stmt) -> set[str]:
    nodes = ast.walk(statement)
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _first_argument(node: ast.expr) -> str | None:
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        return node.args[0].value if isinstance(node.args[0].value, str) else None
    return None


def _keep_aliases(edits: Edits, statement: ast.ImportFrom, kept: set[str]) -> None:
    aliases = [alias for alias in statement.names if (alias.asname or alias.name) in kept]
    if len(aliases) < len(statement.names):
        names = ", ".join(edits.segment(alias) for alias in aliases)
        origin = "." * statement.level + (statement.module or "")
        edits.replace_node(statement, f"from {origin} import {names}")


def _keep_entries(edits: Edits, value: ast.expr, kept: set[str]) -> None:
    entries = [node.value for node in getattr(value, "elts", []) if node.value in kept]
    edits.replace_node(value, "[" + ", ".join(f'"{entry}"' for entry in entries) + "]")
