"""What is tested: submissions of this repository, or a folder of exported competition entries."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.submission import available, path_of, search_space_of

FRAMEWORKS = ("jax", "pytorch")
RULESETS = ("external_tuning", "self_tuning")
NO_SEARCH_SPACE = "None"  # how the reference test is told that there is none

# What a submission of the repository imports or reads; nothing else is on the path.
REPOSITORY_PARTS = ("matprec", "submissions", "algoperf_api", "tuning_search_spaces")


@dataclass(frozen=True)
class Entry:
    """One submission in one framework; paths are relative to the folder of its sources."""

    name: str
    framework: str
    submission_path: str
    search_space: str
    parts: tuple[str, ...]  # files and folders that can change the result


def of_repository(root: Path, names: Sequence[str], frameworks: Sequence[str]) -> list[Entry]:
    """Entries of `submissions/<name>/<framework>`, all of them for `["all"]`.

    Raises:
        UserError: a name is unknown.
    """
    known = {framework: available(framework, root) for framework in frameworks}
    _check(names, {name for found in known.values() for name in found}, str(root / "submissions"))
    return [
        Entry(
            name,
            framework,
            path_of(name, framework),
            str(search_space_of(name, root).relative_to(root)),
            REPOSITORY_PARTS,
        )
        for name in sorted({name for found in known.values() for name in found})
        for framework in frameworks
        if name in known[framework] and (list(names) == ["all"] or name in names)
    ]


def of_exports(root: Path, names: Sequence[str], frameworks: Sequence[str]) -> list[Entry]:
    """Entries `{external_tuning,self_tuning}/<name>/submission.py`, by `<name>` or
    `<ruleset>/<name>`. An entry is for the framework that its submission_info.yml names, and for
    all where that names none.

    Raises:
        UserError: a name is unknown, or a folder name cannot be a Python module's.
    """
    folders = {
        f"{ruleset}/{path.parent.name}": path.parent
        for ruleset in RULESETS
        for path in sorted(root.glob(f"{ruleset}/*/submission.py"))
    }
    _check(names, {*folders, *(key.partition("/")[2] for key in folders)}, str(root))
    found = []
    for key, folder in folders.items():
        if list(names) != ["all"] and key not in names and folder.name not in names:
            continue
        if not folder.name.isidentifier():
            raise UserError(f"{folder}: {folder.name!r} cannot be the name of a Python module")
        space = NO_SEARCH_SPACE
        if key.startswith("external"):
            space = f"{key}/tuning_search_space.json"
            if not (root / space).is_file():
                raise UserError(f"{root / space}: missing; external tuning needs a search space")
        found += [
            Entry(key, framework, f"{key}/submission.py", space, (key,))
            for framework in frameworks
            if framework in _frameworks(folder)
        ]
    return found


def _check(names: Sequence[str], known: set[str], place: str) -> None:
    if not known:
        raise UserError(f"{place}: no submission found there")
    for name in names or [""]:
        if name != "all" and name not in known:
            allowed = ", ".join(["all", *sorted(known)])
            raise UserError(f"--submissions: {name!r} is unknown in {place}; allowed: {allowed}")


def _frameworks(folder: Path) -> tuple[str, ...]:
    info = folder / "submission_info.yml"
    line = None
    if info.is_file():
        line = re.search(r"^framework:(.*)$", info.read_text(), re.MULTILINE)
    named = tuple(name for name in FRAMEWORKS if line and name in line[1].lower())
    return named or FRAMEWORKS
