"""Files as `allenai/c4` has them: a JSON object a line, with the document as its "text"."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from .held_out import held_out
from .lines import place, read_lines
from .unit import BadDocuments, Unit

SUFFIXES = (".json.gz", ".jsonl.gz", ".json", ".jsonl")


@dataclass(frozen=True)
class JsonlSource:
    """`c4-train.*.json.gz` and `c4-validation.*.json.gz` of one folder; also `.json`, `.jsonl` and
    `.jsonl.gz`. A unit is a file, and units are in the order of their names."""

    folder: Path

    def facts(self) -> dict[str, Any]:
        return {"kind": "jsonl"}

    def units(self, split: str) -> list[Unit]:
        files = self._files("train" if split == "train" else "validation")
        chosen = files if split == "train" else held_out(files, split, str(self.folder))
        return [Unit(split, path.name, path.stat().st_size) for path in chosen]

    def documents(self, unit: Unit, bad: BadDocuments) -> Iterator[tuple[str, int]]:
        path = self.folder / unit.name
        for number, line, position in read_lines(path, bad):
            if line.isspace():
                continue
            try:
                yield _text(line), position
            except ValueError as error:
                bad(place(path, number), str(error))

    def _files(self, kind: str) -> list[Path]:
        """Sorted, at least one."""
        prefix = f"c4-{kind}."
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.name.startswith(prefix))
        except OSError as error:
            raise DataError(f"cannot read {self.folder}: {error.strerror}") from error
        found: dict[str, Path] = {}
        for path in paths:
            suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
            if suffix is None:
                continue
            other = found.setdefault(path.name.removesuffix(suffix), path)
            if other is not path:
                raise DataError(f"{other} and {path.name} are the same part of C4: remove one")
        if not found:
            raise DataError(
                f"{self.folder} has no files {prefix}*{SUFFIXES[0]} (or {', '.join(SUFFIXES[1:])})"
            )
        return list(found.values())


def _text(line: bytes) -> str:
    """The document of a line; ValueError that says why there is none."""
    try:
        content = json.loads(line.rstrip(b"\r\n").decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"malformed JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("malformed JSON (nested too deeply)") from error
    text = content.get("text") if isinstance(content, dict) else None
    if not isinstance(text, str):
        raise ValueError('no "text" string')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"not UTF-8 (the text's character {error.start + 1} is a lone surrogate)"
        ) from error
    return text
