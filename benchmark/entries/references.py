"""What a module of this repository takes from others, read from its syntax tree."""

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError

EVERYTHING = "*"


@dataclass(frozen=True)
class Sources:
    """The Python packages below a folder.

    Attributes:
      root: the folder.
      packages: top-level packages that may be followed; all others stay imports.
    """

    root: Path
    packages: tuple[str, ...]

    def holds(self, name: str) -> bool:
        """Whether a dotted name lies in one of the packages."""
        return name.partition(".")[0] in self.packages

    def path(self, name: str) -> Path | None:
        """The file of a module, None if there is no such module."""
        base = self.root.joinpath(*name.split("."))
        candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
        return next((path for path in candidates if path.is_file()), None)

    def is_package(self, name: str) -> bool:
        """Whether a module is a package."""
        path = self.path(name)
        return path is not None and path.name == "__init__.py"


def imported_module(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The absolute name in `from ... import`, in a file of the module `module`."""
    if not node.level:
        return node.module or ""
    package = module if is_package else module.rpartition(".")[0]
    return importlib.util.resolve_name("." * node.level + (node.module or ""), package)


def references(tree: ast.Module, module: str, sources: Sources) -> Iterator[tuple[str, str | None]]:
    """(module, name in it) that a module reads; name None: only the module, "*": all of it.

    Raises:
      UserError: `import a.b` without `as`, or a module that does not exist.
    """
    is_package = sources.is_package(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if not sources.holds(alias.name):
                    continue
                if alias.asname is None:
                    raise UserError(
                        f"{sources.path(module)}:{node.lineno}: import {alias.name}: an entry has "
                        "another name for it; allowed: from ... import ..."
                    )
                yield from _of_module(tree, alias.asname, alias.name, sources)
        elif isinstance(node, ast.ImportFrom):
            origin = imported_module(node, module, is_package)
            if not sources.holds(origin):
                continue
            if sources.path(origin) is None:
                raise UserError(f"{sources.path(module)}:{node.lineno}: no module {origin}")
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                if sources.path(inner) is not None:
                    yield from _of_module(tree, alias.asname or alias.name, inner, sources)
                else:
                    yield origin, alias.name


def _of_module(
    tree: ast.Module, local: str, module: str, sources: Sources
) -> Iterator[tuple[str, str | None]]:
    """What is read of a module that the name `local` stands for."""
    yield module, None
    if not sources.is_package(module):
        return
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    read = [node for node in attributes if _is_name(node.value, local)]
    bare = {id(node) for node in ast.walk(tree) if _is_name(node, local)}
    if bare - {id(node.value) for node in read}:
        yield module, EVERYTHING
    for node in read:
        inner = f"{module}.{node.attr}"
        yield (inner, None) if sources.path(inner) is not None else (module, node.attr)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
