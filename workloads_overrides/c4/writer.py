"""Writes documents as shards of tokens; memory holds one shard at most."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .blocks import encode_block
from .meta import SplitMeta
from .tokenizers import Tokenizer


def write_split(
    folder: Path,
    split: str,
    tokenizer: Tokenizer,
    blocks: Iterable[Sequence[str]],
    row_tokens: int = 0,
    max_tokens: int | None = None,
    shard_tokens: int = 1 << 26,
) -> SplitMeta:
    """Writes a split's documents, each with an EOS after it, as `folder/<split>_<number>.bin`.

    Args:
      blocks: the documents, in lists that are tokenised at once.
      row_tokens: 0 packs; otherwise every document becomes a row, cut or padded to that many.
      max_tokens: stop after the document with which this many are stored.
      shard_tokens: how many a file has at most.
    """
    shards = _Shards(folder, split, shard_tokens)
    kept_tokens = text_bytes = 0
    for texts in blocks:
        block = encode_block(tokenizer, texts, row_tokens)
        if max_tokens is not None:
            block = block.until(max_tokens - shards.stored)
        shards.append(block.tokens)
        kept_tokens += int(block.kept.sum())
        text_bytes += int(block.text_bytes.sum())
        if max_tokens is not None and shards.stored >= max_tokens:
            break
    return SplitMeta(shards.close(), kept_tokens, text_bytes)


class _Shards:
    """The files of one split; all but the last are full."""

    def __init__(self, folder: Path, split: str, shard_tokens: int) -> None:
        self.stored = 0
        self._folder, self._split, self._shard_tokens = folder, split, shard_tokens
        self._written: list[tuple[str, int]] = []
        self._pending: list[np.ndarray] = []

    def append(self, tokens: np.ndarray) -> None:
        self._pending.append(tokens)
        self.stored += len(tokens)
        while self._num_pending >= self._shard_tokens:
            self._write(self._shard_tokens)

    def close(self) -> tuple[tuple[str, int], ...]:
        """Writes what is left; (file name, tokens) of every file."""
        if self._num_pending:
            self._write(self._num_pending)
        return tuple(self._written)

    @property
    def _num_pending(self) -> int:
        return self.stored - sum(size for _, size in self._written)

    def _write(self, size: int) -> None:
        tokens = np.concatenate(self._pending)
        name = f"{self._split}_{len(self._written):05d}.bin"
        # Not tofile: it does not say why it failed.
        (self._folder / name).write_bytes(tokens[:size].astype("<u2").tobytes())
        self._written.append((name, size))
        self._pending = [tokens[size:]]
