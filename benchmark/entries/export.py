"""Writes a submission of this repository as an entry of the competition, which stands alone."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.entries import info, layout, requirements
from benchmark.entries.closure import closure
from benchmark.entries.readme import readme
from benchmark.entries.references import Sources
from benchmark.entries.rewrite import ALGOPERF, rewrite
from benchmark.errors import UserError, one_line
from benchmark.search_space import load

_PACKAGES = ("matprec", "submissions")
# The one list of optimizers; an entry has its own row of it.
_REGISTRY, _TABLE = "submissions.registry", "OPTIMIZERS"
_LINE_LENGTH = "100"


@dataclass(frozen=True)
class Request:
    """One entry to write.

    Attributes:
      name: of the folder below `submissions/`.
      framework, ruleset: of `layout`.
      source: where its equations are published.
      hyperparameters: names and values that README shows, of self-tuning or where a point of the
        search space says nothing.
    """

    name: str
    framework: str
    ruleset: str
    source: str
    hyperparameters: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The entry's name, a Python identifier: AlgoPerf imports it by dotted path."""
        return f"{self.name}_{self.framework}"

    def place(self, output_dir: Path) -> Path:
        """The entry's folder."""
        return output_dir / self.ruleset / self.folder


def check_places(requests: Sequence[Request], output_dir: Path, overwrite: bool) -> None:
    """Refuses to replace what is there, before anything is written.

    Raises:
      UserError: a folder is not empty, or no folder.
    """
    for request in requests:
        place = request.place(output_dir)
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise UserError(f"{place}: not a folder")
        if not overwrite and place.is_dir() and any(place.iterdir()):
            raise UserError(f"{place}: not empty (allowed: an empty folder, or --overwrite)")


def export(request: Request, output_dir: Path, root: Path, overwrite: bool = False) -> Path:
    """Writes one entry; returns its folder, which is there whole or not at all.

    Args:
      output_dir: gets `<ruleset>/<name>_<framework>/`.
      root: this repository.
      overwrite: replace a folder that is there.

    Raises:
      UserError: no such submission, something in its way, or sources that cannot be exported.
    """
    check_places([request], output_dir, overwrite)
    files = _files(request, root)
    place = request.place(output_dir)
    place.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    old = new.with_name(f"{new.name}.replaced")
    try:
        for name, text in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _tidy(new, [name for name in files if name.endswith(".py")])
        new.chmod(0o777 & ~_umask())
        if place.exists():
            os.rename(place, old)
        os.rename(new, place)
    finally:
        if old.exists() and not place.exists():
            os.rename(old, place)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return place


def _files(request: Request, root: Path) -> dict[str, str]:
    """{path in the entry: text}."""
    folder = f"submissions.{request.name}"
    start = f"{folder}.{request.framework}.submission"
    sources = Sources(root, _PACKAGES)
    if sources.path(start) is None:
        raise UserError(f"no submission {request.name!r} for {request.framework} in {root}")

    def place(module: str) -> str:
        return "submission" if module == start else module.removeprefix("submissions").strip(".")

    own = {"submissions", folder, f"{folder}.{request.framework}"}
    rows = {_REGISTRY: (_TABLE, request.name)}
    code = {"__init__.py": ""}
    for module, text in closure(start, sources, rows).items():
        if module in own:
            continue
        path = place(module).replace(".", "/")
        path += "/__init__.py" if sources.is_package(module) else ".py"
        code[path] = rewrite(text, module, sources, place)

    path = root / "submissions" / request.name / layout.INFO
    fields = info.write_fields(
        info.read(path), request.folder, request.ruleset, request.framework, path
    )
    points = []
    if request.ruleset == "external_tuning":
        points = _points(root / "tuning_search_spaces" / f"{request.name}.json")
    texts = {
        layout.INFO: fields,
        layout.REQUIREMENTS: requirements.of_imports(
            _outside(code.values()), root / "requirements.txt"
        ),
        layout.README: readme(
            yaml.safe_load(fields),
            request.framework,
            request.ruleset,
            request.source,
            request.hyperparameters,
            points,
        ),
        layout.LICENSE: (root / "LICENSE").read_text(encoding="utf-8"),
    }
    if points:
        texts[layout.SEARCH_SPACE] = json.dumps(points, indent=2) + "\n"
    return code | texts


def _points(path: Path) -> list[dict[str, Any]]:
    points = load(path, layout.POINTS)
    if not isinstance(json.loads(path.read_text(encoding="utf-8")), list):
        raise UserError(f"{path}: ranges (allowed in an entry: a list of {layout.POINTS} points)")
    return points


def _outside(texts: Any) -> set[str]:
    """Top-level modules that the code imports from outside the entry and the standard library."""
    found = set()
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {ALGOPERF}


def _tidy(folder: Path, names: Sequence[str]) -> None:
    """Sorts imports and formats, as cut and rewritten lines need it."""
    ruff = _ruff()
    # The files by name: in folders, ruff leaves out those that git ignores, or named build.
    common = ["--isolated", "--line-length", _LINE_LENGTH, "--target-version", "py311", *names]
    for command in (["check", "--select", "F,I", "--fix", "--no-cache"], ["format", "--no-cache"]):
        done = subprocess.run(
            [*ruff, *command, "--quiet", *common], cwd=folder, capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"ruff {command[0]}: {one_line(done.stdout + done.stderr)}")


def _ruff() -> list[str]:
    """The command, of this environment or of the path."""
    if importlib.util.find_spec("ruff") is not None:
        return [sys.executable, "-m", "ruff"]
    found = shutil.which("ruff")
    if found is None:
        raise UserError("no ruff to format the entry with (it comes with requirements.txt)")
    return [found]


def _umask() -> int:
    """The mode bits that new folders lack; `mkdtemp` makes private ones."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
