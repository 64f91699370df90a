"""A part: the tokens of one unit, in a file of its own beside what a cut and a check of it need."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ...base.files import naming, sync, write_atomically
from ..blocks import encode_block
from ..sources.unit import BadDocuments, Source, Unit
from ..tokenizers import Tokenizer

BLOCK_CHARACTERS = 1 << 20  # of text that is tokenised at once

# Bytes of the unit read, bytes of text and tokens so far. It may raise to end the work.
Tell = Callable[[int, int, int], None]


@dataclass(frozen=True)
class PartTask:
    """One unit to tokenise.

    Attributes:
      index: of the unit within its split, from 0.
      unit: it.
      path: of the file of tokens; two more files have the same name with other endings.
      row_tokens: as in meta.json.
      max_tokens: stop after the document with which this many are stored: no split needs more of
        a unit, whatever its other units have.
      tokenizer_sha256: of the tokenizer that is to be used.
      skip_bad_lines: count documents that cannot be read.
    """

    index: int
    unit: Unit
    path: Path
    row_tokens: int
    max_tokens: int
    tokenizer_sha256: str
    skip_bad_lines: bool

    @property
    def table(self) -> Path:
        """Kept tokens, bytes of text and documents skipped before it, for each document:
        (documents, 3) little-endian uint32."""
        return self.path.with_suffix(".documents")

    @property
    def record(self) -> Path:
        """What `PartRecord` says, written when the other two files are whole and on the disk."""
        return self.path.with_suffix(".json")

    @property
    def identity(self) -> dict:
        """What a part that is found must have been made of. Without `skip_bad_lines`: where nothing
        was left out, a part is the same either way."""
        return {
            "name": self.unit.name,
            "size": self.unit.size,
            "row_tokens": self.row_tokens,
            "max_tokens": self.max_tokens,
            "tokenizer_sha256": self.tokenizer_sha256,
        }


@dataclass(frozen=True)
class PartRecord:
    """A finished part.

    Attributes:
      identity: of its task.
      stored: tokens in the file.
      kept: those that are not padding, ends of documents included.
      text_bytes: of UTF-8 that they stand for.
      skipped: documents left out.
      first_skipped: where and why, of the first one, or of the rest of the unit.
      sha256, table_sha256: of the two files.
      truncated: whether the rest of the unit is left out: 0 or 1.
    """

    identity: dict
    stored: int
    kept: int
    text_bytes: int
    skipped: int
    first_skipped: str
    sha256: str
    table_sha256: str
    truncated: int = 0

    def write(self, path: Path) -> None:
        """Whole or not at all. OSError names the file."""
        content = {**asdict(self), "digest": self._digest()}
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())

    @staticmethod
    def read(path: Path) -> "PartRecord | None":
        """None if it is missing, damaged or not one: the part is then made again."""
        try:
            content = json.loads(path.read_text())
            digest = content.pop("digest")
            record = PartRecord(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return record if record._digest() == digest else None

    def _digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def write_part(source: Source, tokenizer: Tokenizer, task: PartTask, tell: Tell) -> PartRecord:
    """Tokenises a unit. The result depends on the arguments alone; memory holds a block.

    Raises DataError if the source cannot be read, OSError that names the file if one cannot be
    written.
    """
    task.record.unlink(missing_ok=True)
    bad = BadDocuments(task.skip_bad_lines)
    stored = kept = text_bytes = 0
    with _Output(task.path) as tokens_file, _Output(task.table) as table_file:
        tell(0, 0, 0)
        for texts, skipped, position in _blocks(source, task.unit, bad):
            block = encode_block(tokenizer, texts, task.row_tokens)
            block = block.until(task.max_tokens - stored)
            table = np.stack([block.kept, block.text_bytes, skipped[: len(block.kept)]], axis=1)
            tokens_file.write(block.tokens.astype("<u2", copy=False).tobytes())
            table_file.write(table.astype("<u4").tobytes())
            stored += len(block.tokens)
            kept += int(block.kept.sum())
            text_bytes += int(block.text_bytes.sum())
            tell(position, text_bytes, stored)
            if stored >= task.max_tokens:
                break
    record = PartRecord(
        identity=task.identity,
        stored=stored,
        kept=kept,
        text_bytes=text_bytes,
        skipped=bad.count,
        first_skipped=bad.first,
        sha256=tokens_file.sha256.hexdigest(),
        table_sha256=table_file.sha256.hexdigest(),
        truncated=bad.truncated_files,
    )
    record.write(task.record)
    return record


def _blocks(
    source: Source, unit: Unit, bad: BadDocuments
) -> Iterator[tuple[list[str], np.ndarray, int]]:
    """(texts, how many documents had been skipped before each, bytes of the unit read)."""
    texts: list[str] = []
    skipped: list[int] = []
    characters = position = 0
    for text, position in source.documents(unit, bad):
        texts.append(text)
        skipped.append(bad.count)
        characters += len(text) + 1  # empty ones count too
        if characters >= BLOCK_CHARACTERS:
            yield texts, np.array(skipped), position
            texts, skipped, characters = [], [], 0
    if texts:
        yield texts, np.array(skipped), position


class _Output:
    """A file that takes its name only when it is whole and on the disk; with its digest."""

    def __init__(self, path: Path) -> None:
        self.sha256 = hashlib.sha256()
        self._path = path
        self._temporary = path.with_name(f"{path.name}.tmp")

    def __enter__(self) -> "_Output":
        self._file: IO[bytes] = self._temporary.open("wb")
        return self

    def write(self, content: bytes) -> None:
        self.sha256.update(content)
        with naming(self._temporary):
            self._file.write(content)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with naming(self._temporary), self._file:
                if kind is None:
                    sync(self._file)
            if kind is None:
                os.replace(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)
