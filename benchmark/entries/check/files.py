"""Files: which must be there, which must not, none that leaves the folder."""

from collections.abc import Iterator

from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.layout import (
    INFO,
    LICENSE,
    README,
    REQUIREMENTS,
    RULESETS,
    SEARCH_SPACE,
    SUBMISSION,
)

_LARGE = 1_000_000  # bytes; code is smaller, and looking up pretrained weights is forbidden
_LICENSES = (LICENSE, "LICENSE.md", "LICENSE.txt")


def check(entry: Entry) -> Iterator[Defect]:
    """Missing and misplaced files, symbolic links, the licence; large and binary files."""
    if not entry.in_ruleset_folder:
        yield Defect("", 0, "not in a ruleset's folder", f"{' or '.join(RULESETS)}/<name>")
    if not entry.folder.name.isidentifier():
        yield Defect("", 0, f"{entry.folder.name!r} is no module's name", "a Python identifier")
    for name in (SUBMISSION, "__init__.py", INFO):
        if name not in entry.files:
            yield Defect(name, 0, "missing")
    if README not in entry.files:
        yield Defect(README, 0, "missing", fatal=False)
    if entry.ruleset == "external_tuning" and SEARCH_SPACE not in entry.files:
        yield Defect(SEARCH_SPACE, 0, "missing; external tuning needs a search space")
    if entry.ruleset == "self_tuning" and SEARCH_SPACE in entry.files:
        yield Defect(SEARCH_SPACE, 0, "self-tuning exposes no hyperparameters", "no search space")
    for name in entry.files:
        if name.startswith("requirements") and name != REQUIREMENTS:
            yield Defect(name, 0, "a name that nobody installs from", REQUIREMENTS)
    yield from _license(entry)
    for name in entry.files:
        path = entry.folder / name
        if path.is_symlink():
            yield Defect(name, 0, "a symbolic link", "files")
            continue
        with path.open("rb") as file:
            start = file.read(8192)
        if b"\0" in start:
            yield Defect(name, 0, "a binary file", "source text", fatal=False)
        if (size := path.stat().st_size) > _LARGE:
            yield Defect(name, 0, f"{size / 1e6:.1f} MB", f"below {_LARGE / 1e6:g} MB", fatal=False)


def _license(entry: Entry) -> Iterator[Defect]:
    present = [name for name in _LICENSES if name in entry.files]
    if not present:
        yield Defect(LICENSE, 0, "missing", "the text of the Apache License 2.0")
        return
    text = (entry.folder / present[0]).read_text(encoding="utf-8", errors="replace")
    if "Apache License" not in text or "Version 2.0" not in text:
        yield Defect(present[0], 0, "not the Apache License 2.0", "its text")
