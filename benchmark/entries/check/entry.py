"""An entry's folder as the checks see it: files, syntax trees, what imports what."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.entries.check.defects import Defect
from benchmark.entries.layout import RULESETS, SEARCH_SPACE, SUBMISSION


@dataclass(frozen=True)
class Binding:
    """What an import binds to a name.

    Attributes:
      local: the name; "*" for all names.
      path: of the entry's file that it comes from, None from outside or where `problem` is set.
      attribute: a name in that file, None for the module itself.
      outside: the top-level module where it is not the entry's.
      problem: why the import cannot work, "" where it can.
      node: the statement.
      optional: whether the statement stands in a `try` that catches import errors.
    """

    local: str
    path: str | None
    attribute: str | None
    outside: str | None
    problem: str
    node: ast.Import | ast.ImportFrom
    optional: bool = False


@dataclass
class Module:
    """One of the entry's Python files that its submission imports, and the submission itself.

    Attributes:
      path: relative to the entry.
      tree: its syntax tree.
      imports: everything that it imports, at any depth.
    """

    path: str
    tree: ast.Module
    imports: list[Binding] = field(default_factory=list)

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree."""
        return list(ast.walk(self.tree))

    @functools.cached_property
    def top(self) -> dict[str, list[ast.stmt]]:
        """The top-level statements that bind a name."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in names_bound(statement):
                found.setdefault(name, []).append(statement)
        return found

    @functools.cached_property
    def bindings(self) -> dict[str, list[Binding]]:
        """The imports by the names that they bind."""
        found: dict[str, list[Binding]] = {}
        for binding in self.imports:
            found.setdefault(binding.local, []).append(binding)
        return found


class Entry:
    """An entry's folder.

    Attributes:
      folder: the folder, absolute.
      ruleset: by the folder around it, or by the search space where that says nothing.
      in_ruleset_folder: whether the folder around it is a ruleset's.
      files: all of them, relative; caches left out.
      modules: {path: module} of what `submission.py` imports, as far as it can be parsed.
      defects: found while reading.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.in_ruleset_folder = self.folder.parent.name in RULESETS
        if self.in_ruleset_folder:
            self.ruleset = self.folder.parent.name
        else:
            self.ruleset = RULESETS[not (self.folder / SEARCH_SPACE).is_file()]
        self.files = sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if (path.is_symlink() or not path.is_dir()) and "__pycache__" not in path.parts
        )
        self.defects: list[Defect] = []
        self.modules: dict[str, Module] = {}
        self._follow()

    @property
    def submission(self) -> Module | None:
        """The module with AlgoPerf's functions."""
        return self.modules.get(SUBMISSION)

    def trees(self) -> Iterator[tuple[str, ast.AST]]:
        """(path, node) of every node of every module."""
        for path, module in self.modules.items():
            for node in module.nodes:
                yield path, node

    def functions(self, name: str) -> list[tuple[str, ast.FunctionDef]]:
        """(path, node) of every function of this name, at any depth; the submission's own first."""
        return self._functions.get(name, [])

    @functools.cached_property
    def _functions(self) -> dict[str, list[tuple[str, ast.FunctionDef]]]:
        found: dict[str, list[tuple[str, ast.FunctionDef]]] = {}
        for path in sorted(self.modules, key=lambda path: path != SUBMISSION):
            for node in self.modules[path].nodes:
                if isinstance(node, ast.FunctionDef):
                    found.setdefault(node.name, []).append((path, node))
        return found

    def _follow(self) -> None:
        """Read `submission.py` and what it imports."""
        waiting = ["__init__.py", SUBMISSION]
        while waiting:
            path = waiting.pop()
            if path in self.modules or path not in self.files:
                continue
            try:
                tree = ast.parse((self.folder / path).read_bytes())
            except (SyntaxError, ValueError, OSError) as error:
                line = getattr(error, "lineno", None) or 0
                told = getattr(error, "msg", None) or str(error)
                self.defects.append(Defect(path, line, f"not Python: {told}"))
                continue
            module = self.modules[path] = Module(path, tree)
            module.imports = list(self._imports(module))
            for binding in module.imports:
                if binding.path is not None:
                    waiting.append(binding.path)
                    parents = Path(binding.path).parents
                    waiting += [(parent / "__init__.py").as_posix() for parent in parents]

    def _imports(self, module: Module) -> Iterator[Binding]:
        optional = set(_optional(module))
        for node in module.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    local = alias.asname or alias.name.partition(".")[0]
                    yield self._bind(module, node, 0, alias.name, None, local, node in optional)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    local = alias.asname or alias.name
                    name = node.module or ""
                    yield self._bind(
                        module, node, node.level, name, alias.name, local, node in optional
                    )

    def _bind(
        self,
        module: Module,
        node: ast.Import | ast.ImportFrom,
        level: int,
        name: str,
        attribute: str | None,
        local: str,
        optional: bool,
    ) -> Binding:
        parts = name.split(".") if name else []
        if level:
            package = list(Path(module.path).parts[:-1])
            if level - 1 > len(package):
                told = "a relative import that leaves the folder"
                return Binding(local, None, None, None, told, node, optional)
            inside = [*package[: len(package) - level + 1], *parts]
        else:
            within = self._within(parts)
            if within is None:
                return Binding(local, None, attribute, parts[0], "", node, optional)
            inside = within
        if attribute not in (None, "*") and (path := self._file([*inside, attribute or ""])):
            return Binding(local, path, None, None, "", node, optional)
        path = self._file(inside)
        is_folder = any(file.startswith("/".join([*inside, ""])) for file in self.files)
        if path is None and (attribute is None or not is_folder or inside):
            told = f"no module {'.'.join(inside)} in the folder"
            return Binding(local, None, None, None, told, node, optional)
        return Binding(local, path, attribute, None, "", node, optional)

    def _within(self, parts: list[str]) -> list[str] | None:
        """The part of an absolute name behind the entry's own dotted path."""
        own = [self.ruleset, self.folder.name]
        for prefix in (["submissions", *own], own):
            if parts[: len(prefix)] == prefix:
                return parts[len(prefix) :]
        return None

    def _file(self, parts: list[str]) -> str | None:
        """The file of a module of the entry."""
        base = "/".join(parts)
        for path in (f"{base}/__init__.py".lstrip("/"), f"{base}.py"):
            if path in self.files:
                return path
        return None


def names_bound(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds, in `if`, `try` and `with` blocks too."""
    found: set[str] = set()
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def _optional(module: Module) -> Iterator[ast.AST]:
    """Imports in a `try` that catches their failure."""
    for node in module.nodes:
        if isinstance(node, ast.Try) and any(_catches(handler) for handler in node.handlers):
            for statement in node.body:
                yield from ast.walk(statement)


def _catches(handler: ast.ExceptHandler) -> bool:
    caught = {"ImportError", "ModuleNotFoundError", "Exception"}
    if handler.type is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in caught for node in ast.walk(handler.type))
