"""Imports and requirements.txt: the entry's own files, AlgoPerf's packages and those it adds."""

import ast
import re
import sys
from collections.abc import Iterator

from benchmark.entries import requirements
from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.layout import REQUIREMENTS

_KNOWN = {*sys.stdlib_module_names, *requirements.PINNED, *requirements.BROUGHT, "algoperf"}
_PINNED = {*requirements.PINNED.values(), "algoperf"}
_LEAVES = re.compile(r"(^|/)\.\.(/|$)")


def check(entry: Entry) -> Iterator[Defect]:
    """Imports that cannot be had, packages without a reason or of AlgoPerf's, paths with `..`."""
    added: set[str] = set()
    if REQUIREMENTS in entry.files:
        text = (entry.folder / REQUIREMENTS).read_text(encoding="utf-8", errors="replace")
        for item in requirements.parse(text):
            added.add(item.name)
            if item.name in _PINNED:
                allowed = "packages that AlgoPerf does not bring"
                yield Defect(REQUIREMENTS, item.line, f"changes {item.name}", allowed)
            if not item.comment:
                yield Defect(
                    REQUIREMENTS, item.line, f"{item.name}: no comment", "# what it is for"
                )
    for path, module in entry.modules.items():
        for binding in module.imports:
            line = binding.node.lineno
            if binding.problem:
                yield Defect(path, line, binding.problem, "modules in the entry's folder")
            elif binding.outside is not None and not binding.optional:
                known = binding.outside in _KNOWN or requirements.normal(binding.outside) in added
                if not known:
                    yield Defect(
                        path,
                        line,
                        f"imports {binding.outside}",
                        f"the entry's modules by relative names, Python's, AlgoPerf's packages, "
                        f"those of {REQUIREMENTS}",
                    )
    for path, node in entry.trees():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if "\n" not in text and " " not in text and _LEAVES.search(text):
                yield Defect(path, node.lineno, f"a path out of the folder, {text!r}", "no ..")
