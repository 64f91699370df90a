"""What `meta.json` says of a folder of token shards, and the checks before a workload reads it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

FORMAT_VERSION = 1
FOLDER = "c4"  # of the full-size workloads, in data_dir
META = "meta.json"
TOKEN_BYTES = 2  # little-endian uint16
LAYOUTS = ("packed", "truncated")


@dataclass(frozen=True)
class SplitMeta:
    """One split.

    Attributes:
      shards: (file name, number of tokens stored in it), in order.
      tokens: how many tokens are not padding, ends of documents included.
      text_bytes: of UTF-8 text that these tokens stand for.
    """

    shards: tuple[tuple[str, int], ...]
    tokens: int
    text_bytes: int

    @property
    def stored(self) -> int:
        """Tokens in the files, padding included."""
        return sum(size for _, size in self.shards)


@dataclass(frozen=True)
class Meta:
    """A folder of shards.

    Attributes:
      layout: 'packed', one stream of documents with an end after each, or 'truncated', GaLore's:
        a document per row, cut or padded.
      row_tokens: of a stored row, one more than the context; 0 if packed, where any context does.
      tokenizer: its name.
      tokenizer_sha256: of what defines the tokens.
      vocab_size: all tokens are below it.
      splits: by name.
    """

    layout: str
    row_tokens: int
    tokenizer: str
    tokenizer_sha256: str
    vocab_size: int
    splits: Mapping[str, SplitMeta]

    def split(self, name: str) -> SplitMeta:
        """Raises DataError for one that was not prepared."""
        if name not in self.splits:
            raise DataError(f"the data has no split {name!r}, only {', '.join(self.splits)}")
        return self.splits[name]

    def to_json(self) -> dict[str, Any]:
        return {"tokens_format": FORMAT_VERSION, **asdict(self)}


def read_meta(folder: Path) -> Meta:
    """Raises DataError, one line, if meta.json is missing, damaged or of another format."""
    path = folder / META
    try:
        content = json.loads(path.read_text())
        if content["tokens_format"] != FORMAT_VERSION or content["layout"] not in LAYOUTS:
            raise ValueError(f"format {content['tokens_format']}, layout {content['layout']!r}")
        splits = {
            name: SplitMeta(
                shards=tuple((str(file), int(size)) for file, size in split["shards"]),
                tokens=int(split["tokens"]),
                text_bytes=int(split["text_bytes"]),
            )
            for name, split in content["splits"].items()
        }
        return Meta(
            layout=content["layout"],
            row_tokens=int(content["row_tokens"]),
            tokenizer=str(content["tokenizer"]),
            tokenizer_sha256=str(content["tokenizer_sha256"]),
            vocab_size=int(content["vocab_size"]),
            splits=splits,
        )
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: the data has not been prepared") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error!r}): prepare the data again") from error


def read_digests(folder: Path) -> dict[str, str]:
    """{file: SHA-256} of all files of a folder beside meta.json, as that has them.

    Raises DataError, one line, if meta.json is missing or damaged, or lacks a shard's.
    """
    meta = read_meta(folder)
    path = folder / META
    try:
        digests = {str(name): str(d) for name, d in json.loads(path.read_text())["sha256"].items()}
        for split in meta.splits.values():
            for name, _ in split.shards:
                digests[name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error!r}): prepare the data again") from error
    return digests


def read_origin(folder: Path) -> str:
    """For people: the source of a folder that can be read, and its tokenizer."""
    meta = read_meta(folder)
    try:
        facts = json.loads((folder / META).read_text())["source"]
        words = [f"{name} {fact}" for name, fact in facts.items() if isinstance(fact, str)]
        units = facts["units"]["train"]
        words.append(f"{units[0][0]} to {units[-1][0]}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        words = ["not told"]
    return (
        f"source: {', '.join(words)}; tokenizer: {meta.tokenizer} of {meta.vocab_size:,} tokens, "
        f"sha256 {meta.tokenizer_sha256}"
    )


def check_tokens(meta: Meta, folder: Path, vocab_size: int, tokenizer_sha256: str | None) -> None:
    """Raises DataError unless a model of `vocab_size` tokens can be trained and measured on these.

    `tokenizer_sha256` is that of the tokenizer which the targets were set with; None: any.
    """
    if meta.vocab_size > vocab_size:
        raise DataError(
            f"{folder} has tokens below {meta.vocab_size}, but the model knows {vocab_size} only"
        )
    if tokenizer_sha256 not in (None, meta.tokenizer_sha256):
        raise DataError(
            f"{folder} was made with the tokenizer {meta.tokenizer} of sha256 "
            f"{meta.tokenizer_sha256}, but the targets were set with {tokenizer_sha256}"
        )
