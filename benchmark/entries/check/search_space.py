"""tuning_search_space.json: points of one set of keys, every one of which the code reads."""

import ast
import json
from collections.abc import Iterator
from typing import Any

from benchmark import search_space
from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.layout import POINTS, SEARCH_SPACE
from benchmark.errors import UserError


def points(entry: Entry) -> list[dict[str, Any]]:
    """The points of a list, or samples of ranges; none where there is no sound search space."""
    try:
        return _load(entry)
    except (UserError, ValueError, OSError):
        return []


def check(entry: Entry, asked: bool = False) -> Iterator[Defect]:
    """A search space that AlgoPerf or the submission cannot use.

    Args:
      entry: an entry.
      asked: whether the submission itself has been asked about the points, so that nothing need
        be concluded from its text.
    """
    if entry.ruleset != "external_tuning" or SEARCH_SPACE not in entry.files:
        return
    path = entry.folder / SEARCH_SPACE
    try:
        values = _load(entry)
    except (UserError, ValueError, OSError) as error:
        yield Defect(SEARCH_SPACE, 0, str(error).replace(str(path), "").strip(":, "))
        return
    space = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(space, list) and len(space) != POINTS:
        yield Defect(SEARCH_SPACE, 0, f"{len(space)} points", f"{POINTS}, or ranges")
    if not asked:
        for key in values[0]:
            if not _is_read(entry, key):
                yield Defect(SEARCH_SPACE, 0, f"{key}: nothing in the code reads it")


def _load(entry: Entry) -> list[dict[str, Any]]:
    path = entry.folder / SEARCH_SPACE
    space = json.loads(path.read_text(encoding="utf-8"))
    return search_space.load(path, len(space) if isinstance(space, list) else POINTS)


def _is_read(entry: Entry, key: str) -> bool:
    """Whether the code names a key: as an attribute, in a text, or as a prefix and the rest."""
    attributes, texts = set(), set()
    for _, node in entry.trees():
        if isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    prefixes = [text for text in texts if text.endswith("_") and key.startswith(text)]
    known = attributes | texts
    return key in known or any(key.removeprefix(prefix) in known for prefix in prefixes)
