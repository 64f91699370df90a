"""Imports of an exported file: relative inside the entry, AlgoPerf's own names outside."""

import ast
from collections.abc import Callable

from benchmark.entries.edits import Edits
from benchmark.entries.references import Sources, imported_module
from benchmark.errors import UserError

STAND_IN = "algoperf_api"  # this project's module names for AlgoPerf's; an entry has the real ones
ALGOPERF = "algoperf"


def rewrite(text: str, module: str, sources: Sources, place: Callable[[str], str]) -> str:
    """A module's text with imports that work wherever the entry lies.

    Args:
      text: the module's, perhaps cut.
      module: its dotted name in this repository.
      sources: whose packages go into the entry.
      place: from a dotted name here to the one in the entry, "" being the entry itself.

    Raises:
      UserError: an import that has no counterpart, with its file and line.
    """
    is_package = sources.is_package(module)
    here = place(module).split(".") if place(module) else []
    package = here if is_package else here[:-1]
    edits = Edits(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if sources.holds(alias.name) or _top(alias.name) == STAND_IN:
                    _refuse(sources, module, node)
        if not isinstance(node, ast.ImportFrom):
            continue
        origin = imported_module(node, module, is_package)
        if sources.holds(origin):
            _put(edits, node, relative(package, place(origin)))
        elif _top(origin) == STAND_IN:
            if any(alias.name == "HAS_ALGOPERF" for alias in node.names):
                _refuse(sources, module, node)
            _put(edits, node, ALGOPERF + origin.removeprefix(STAND_IN))
    return edits.apply()


def relative(package: list[str], target: str) -> str:
    """The relative name of module `target` for a file in `package`, both within the entry.

    >>> relative(["matprec", "jax"], "matprec.algorithms.base")
    '..algorithms.base'
    >>> relative([], "common.jax"), relative(["common"], "")
    ('.common.jax', '..')
    """
    parts = target.split(".") if target else []
    common = 0
    while common < min(len(package), len(parts)) and package[common] == parts[common]:
        common += 1
    return "." * (len(package) - common + 1) + ".".join(parts[common:])


def _top(name: str) -> str:
    return name.partition(".")[0]


def _put(edits: Edits, node: ast.ImportFrom, origin: str) -> None:
    """Change the module in `from module import ...` and leave the rest of the line."""
    statement = edits.segment(node)
    _, found, rest = statement.partition(" import ")
    if not found:
        raise UserError(f"cannot rewrite {statement!r}; allowed: from MODULE import NAMES")
    edits.replace_node(node, f"from {origin} import {rest}")


def _refuse(sources: Sources, module: str, node: ast.Import | ast.ImportFrom) -> None:
    raise UserError(
        f"{sources.path(module)}:{node.lineno}: {ast.unparse(node)}: has no counterpart in an "
        "entry; allowed: from PACKAGE import MODULE, from MODULE import NAMES"
    )
