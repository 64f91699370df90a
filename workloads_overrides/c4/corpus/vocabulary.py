"""Which tokenizer a corpus is prepared with, as a user chooses it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ...base.files import write_atomically
from ...errors import DataError
from ..sources.unit import BadDocuments, Source, Unit
from ..tokenizers import (
    T5_SHA256,
    ByteTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    load_sentencepiece,
    load_t5,
    train_own,
)
from .work import WorkFolder

KINDS = ("t5", "sentencepiece", "train", "byte")


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's choice.

    Attributes:
      kind: 't5', from T5's file; 'sentencepiece', from any file of that kind; 'train', on the
        first documents of the training split; 'byte'.
      path: of the file for the first two.
      sha256: that the file must have; T5's is known.
      size: pieces of a trained one.
    """

    kind: str
    path: Path | None = None
    sha256: str | None = None
    size: int = 32_000

    def __post_init__(self) -> None:
        """Raises DataError for choices that do not go together."""
        from_file = self.kind in ("t5", "sentencepiece")
        if from_file and self.path is None:
            raise DataError(f"--tokenizer={self.kind} needs --tokenizer_path, its file")
        if not from_file and (self.path or self.sha256):
            raise DataError(
                f"--tokenizer={self.kind} has no file: --tokenizer_path and --tokenizer_sha256 "
                "belong to t5 and sentencepiece"
            )
        if self.kind == "sentencepiece" and not self.sha256:
            raise DataError("--tokenizer=sentencepiece needs --tokenizer_sha256, of its file")
        if self.kind == "t5" and self.sha256 not in (None, T5_SHA256):
            raise DataError(
                f"--tokenizer_sha256={self.sha256} is not T5's, {T5_SHA256}: other files are "
                "--tokenizer=sentencepiece"
            )

    @property
    def name(self) -> str:
        """As in meta.json."""
        return "own" if self.kind == "train" else self.kind

    @property
    def known_sha256(self) -> str | None:
        """Of the tokenizer; None if it is to be trained."""
        known = {"t5": T5_SHA256, "sentencepiece": self.sha256, "byte": ByteTokenizer.sha256}
        return known.get(self.kind)

    def check_size(self, model_vocab: int) -> None:
        """Raises DataError if one is to be trained that a model cannot have: before it is."""
        if self.kind == "train" and self.size > model_vocab:
            raise DataError(f"--vocab_size={self.size}: the model knows {model_vocab} tokens only")

    def plan(self) -> dict[str, Any]:
        """What identifies it, as JSON."""
        if self.kind == "train":
            return {"kind": self.kind, "size": self.size}
        return {"kind": self.kind, "sha256": self.known_sha256}

    def versions(self) -> dict[str, str]:
        """Of the libraries that make its tokens, for meta.json."""
        if self.kind == "byte":
            return {}
        try:
            return {"sentencepiece_version": metadata.version("sentencepiece")}
        except metadata.PackageNotFoundError as error:
            raise DataError(
                f"--tokenizer={self.kind} needs the package sentencepiece: pip install it"
            ) from error

    def load(
        self, source: Source, work: WorkFolder, skip_bad_lines: bool, note: Callable[[str], None]
    ) -> Tokenizer:
        """The tokenizer; a trained one is kept in the work folder for the next call, which uses it
        if it would be trained on the same files.

        Raises DataError if it cannot be had.
        """
        if self.kind == "byte":
            return ByteTokenizer()
        if self.kind == "train":
            return _trained(self.size, source, work, skip_bad_lines, note)
        assert self.path is not None
        if self.kind == "t5":
            return load_t5(self.path)
        assert self.sha256 is not None
        return load_sentencepiece(self.path, self.sha256)


def _trained(
    size: int,
    source: Source,
    work: WorkFolder,
    skip_bad_lines: bool,
    note: Callable[[str], None],
) -> SentencePieceTokenizer:
    record = work.own_model.with_suffix(".json")
    units = source.units("train")
    kept = _read(record)
    if kept is not None and kept.fits(size, units):
        try:
            return load_sentencepiece(work.own_model, kept.sha256, "own")
        except DataError:
            pass  # damaged: training gives the same again
    note(f"training a vocabulary of {size:,} pieces on the first documents, a minute or so")
    texts = _Texts(source, units, BadDocuments(skip_bad_lines))
    tokenizer = train_own(texts, size)
    write_atomically(work.own_model, tokenizer.model)
    made_of = _Record(tokenizer.sha256, size, _identify(units[: texts.begun]), texts.ended)
    write_atomically(record, (json.dumps(asdict(made_of), indent=1) + "\n").encode())
    return tokenizer


@dataclass(frozen=True)
class _Record:
    """What a vocabulary that is kept was trained on.

    Attributes:
      sha256: of its file.
      pieces: how many it has.
      units: [name, size] of those that were begun, in order.
      ended: whether these were all and read to their end: more would have been read then.
    """

    sha256: str
    pieces: int
    units: list[list[str | int]]
    ended: bool

    def fits(self, pieces: int, units: Sequence[Unit]) -> bool:
        """Whether training would read the same now."""
        now = units if self.ended else units[: len(self.units)]
        return (self.pieces, self.units) == (pieces, _identify(now))


def _read(path: Path) -> _Record | None:
    """None if it is missing or damaged."""
    try:
        return _Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _identify(units: Sequence[Unit]) -> list[list[str | int]]:
    return [[unit.name, unit.size] for unit in units]


class _Texts:
    """The documents of units. `begun` are the units read so far; `ended`, whether all of them."""

    def __init__(self, source: Source, units: Sequence[Unit], bad: BadDocuments) -> None:
        self.begun = 0
        self.ended = False
        self._source, self._units, self._bad = source, units, bad

    def __iter__(self) -> Iterator[str]:
        for unit in self._units:
            self.begun += 1
            for text, _ in self._source.documents(unit, self._bad):
                yield text
        self.ended = True
