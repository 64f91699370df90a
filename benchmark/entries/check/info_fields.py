"""submission_info.yml: there under that name, whole, and true of the folder."""

import difflib
from collections.abc import Iterator

from benchmark.entries import info
from benchmark.entries.check.defects import Defect
from benchmark.entries.check.entry import Entry
from benchmark.entries.layout import FIELDS, FRAMEWORK_FIELD, INFO, RULESET_FIELD
from benchmark.errors import UserError

_MODULES = {"JAX": "jax", "PyTorch": "torch"}


def check(entry: Entry) -> Iterator[Defect]:
    """Fields that are missing, empty, unknown to the board or untrue."""
    path = entry.folder / INFO
    if INFO not in entry.files:
        for name in difflib.get_close_matches(INFO, entry.files, cutoff=0.8):
            yield Defect(name, 0, "a name that nobody reads", INFO)
        return
    try:
        fields = info.read(path)
    except UserError as error:
        yield Defect(INFO, 0, str(error).removeprefix(f"{path}: "))
        return
    lines = path.read_text(encoding="utf-8").splitlines()

    def line(name: str) -> int:
        starts = [number for number, text in enumerate(lines, 1) if text.startswith(f"{name}:")]
        return starts[0] if starts else 0

    for name in FIELDS:
        value = fields.get(name, "").strip()
        if not value:
            yield Defect(INFO, line(name), f"no {name}", "a text")
        elif "#" in value:
            yield Defect(INFO, line(name), f"{name}: the competition's CI cuts a value at #")
    folder = fields.get("submission_folder", "").strip().strip("/")
    if folder and folder.rpartition("/")[2] != entry.folder.name:
        yield Defect(
            INFO, line("submission_folder"), f"submission_folder: {folder!r}", entry.folder.name
        )
    wanted = RULESET_FIELD[entry.ruleset]
    ruleset = fields.get("ruleset", "").strip()
    if ruleset and ruleset != wanted:
        yield Defect(INFO, line("ruleset"), f"ruleset: {ruleset!r}", wanted)
    framework = fields.get("framework", "").strip()
    if framework and framework not in FRAMEWORK_FIELD.values():
        allowed = " or ".join(FRAMEWORK_FIELD.values())
        yield Defect(INFO, line("framework"), f"framework: {framework!r}", allowed)
    outside = {binding.outside for module in entry.modules.values() for binding in module.imports}
    for name, other in (("JAX", "PyTorch"), ("PyTorch", "JAX")):
        if framework == name and _MODULES[other] in outside and _MODULES[name] not in outside:
            told = f"framework: {name!r}, and the code imports {_MODULES[other]} only"
            yield Defect(INFO, line("framework"), told, other)
