"""The files that a submission needs, found by following its imports, and cut to what is used."""

import ast
from collections.abc import Mapping

from benchmark.entries.references import EVERYTHING, Sources, references
from benchmark.entries.shake import bound, keep_row, shake
from benchmark.errors import UserError


def closure(
    start: str, sources: Sources, rows: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, str]:
    """{module: its text} of everything that module `start` imports, itself included.

    Modules stand whole, but the `__init__` of a package keeps only the statements whose names some
    other module reads: else a package that lists all algorithms would bring them all.

    Args:
      start: a dotted name.
      sources: where imports are followed.
      rows: {module: (table, row)}: of that module's table only this row is kept, see
        `shake.keep_row`.

    Raises:
      UserError: an import that cannot be followed, with its file and line.
    """
    wanted: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    waiting = _want(wanted, start, EVERYTHING)
    # What a package keeps decides what it imports, and that what other packages keep.
    while waiting:
        module = waiting.pop()
        texts[module] = _text(module, wanted[module], sources, rows or {})
        for other, name in references(ast.parse(texts[module]), module, sources):
            waiting |= _want(wanted, other, name)
    return texts


def _want(wanted: dict[str, set[str]], module: str, name: str | None) -> set[str]:
    """Ask for `name` of `module` and, as importing runs them, for the packages around it.

    Returns the modules of which more is wanted than before.
    """
    parts = module.split(".")
    around = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    changed = around - wanted.keys()
    for one in changed:
        wanted[one] = set()
    if name is not None and name not in wanted[module]:
        wanted[module].add(name)
        changed.add(module)
    return changed


def _text(
    module: str, names: set[str], sources: Sources, rows: Mapping[str, tuple[str, str]]
) -> str:
    path = sources.path(module)
    if path is None:
        raise UserError(f"no module {module} below {sources.root}")
    text = path.read_text(encoding="utf-8")
    try:
        if module in rows:
            text = keep_row(text, *rows[module])
        if sources.is_package(module):
            if EVERYTHING in names:
                names = {name for statement in ast.parse(text).body for name in bound(statement)}
            text = shake(text, names)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return text
