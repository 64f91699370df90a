"""Made-up files of C4, fresh every time, and what must be prepared from them, told plainly."""

import gzip
import hashlib
import json
import random
import secrets
from collections.abc import Sequence
from pathlib import Path

from workloads_overrides.c4.amounts import Amounts
from workloads_overrides.c4.corpus.run import Request
from workloads_overrides.c4.corpus.vocabulary import Vocabulary
from workloads_overrides.c4.sources.jsonl import JsonlSource

CONTEXT = 256
_ALPHABET = "abc xyz.\n\té—日🙂"


def fresh() -> random.Random:
    """Another one in every test; a failing test's output has the seed."""
    seed = secrets.randbits(32)
    print(f"random seed {seed}")
    return random.Random(seed)


def document(rng: random.Random, length: int = 400) -> str:
    """Up to `length` characters, of one to four bytes."""
    return "".join(rng.choices(_ALPHABET, k=rng.randrange(length)))


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


def line_of(text: str) -> bytes:
    return json.dumps({"text": text, "timestamp": "2019-04-25T12:57:54Z", "url": "x"}).encode()


def write_files(
    folder: Path,
    rng: random.Random,
    train: int = 4,
    validation: int = 4,
    documents: int = 30,
    suffix: str = "json.gz",
) -> dict[str, list[list[str]]]:
    """Files as of allenai/c4. Returns {split: documents of each of its files}."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, list[list[str]]] = {"train": [], "validation": []}
    for kind, count in (("train", train), ("validation", validation)):
        for number in range(count):
            size = rng.randint(documents // 2 + 1, 2 * documents)
            texts[kind].append([document(rng) for _ in range(size)])
            path = folder / f"c4-{kind}.{number:05d}-of-01024.{suffix}"
            write_lines(path, [line_of(text) for text in texts[kind][-1]])
    half = (validation + 1) // 2
    return {
        "train": texts["train"],
        "validation": texts["validation"][:half],
        "test": texts["validation"][half:],
    }


def stream(files: Sequence[Sequence[str]]) -> list[int]:
    """The documents as bytes plus 2, an end after each."""
    texts = [text for file in files for text in file]
    return [token for text in texts for token in [*(byte + 2 for byte in text.encode()), 1]]


def packed_bytes(files: Sequence[Sequence[str]], tokens: int) -> int:
    """Bytes of text that the first `tokens` of the stream stand for."""
    total = 0
    for text in (text for file in files for text in file):
        size = len(text.encode())
        total += round(size * min(tokens, size + 1) / (size + 1))
        tokens -= min(tokens, size + 1)
    return total


def most_rows(files: Sequence[Sequence[str]]) -> int:
    """Packed rows of 256 tokens, with one more after the last."""
    return (sum(len(text.encode()) + 1 for file in files for text in file) - 1) // CONTEXT


class Shown:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.updates: list[tuple[str, float, str]] = []
        self.ends: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def update(self, label: str, done: float, text: str) -> None:
        self.updates.append((label, done, text))

    def end(self, label: str, text: str) -> None:
        self.ends.append(text)


def a_request(
    folder: Path,
    data_dir: Path,
    train_rows: int,
    eval_rows: int = 1,
    layout: str = "packed",
    **options,
) -> Request:
    """Of files in `folder`, in bytes."""
    rows = {"train": train_rows, "validation": eval_rows, "test": eval_rows}
    options.setdefault("vocabulary", Vocabulary("byte"))
    amounts = Amounts(layout, CONTEXT, rows)
    return Request(JsonlSource(folder), data_dir, "c4_60m", amounts, **options)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
