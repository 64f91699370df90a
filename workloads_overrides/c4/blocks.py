"""Documents as tokens in their stored form: packed with ends between them, or a row for each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .tokenizers import EOS, PAD, Tokenizer


@dataclass(frozen=True)
class Block:
    """Some documents of one split, one after another.

    Attributes:
      tokens: all that is stored of them, (stored,) uint16.
      kept: of each document's tokens, without padding and with its end unless that is cut off.
      text_bytes: of UTF-8 that each document's kept tokens stand for.
      stored: tokens of each document in `tokens`; the last three are (documents,) int64.
    """

    tokens: np.ndarray
    kept: np.ndarray
    text_bytes: np.ndarray
    stored: np.ndarray

    def until(self, stored: int) -> "Block":
        """The documents up to the one with which `stored` tokens are had; all if there are less."""
        ends = np.cumsum(self.stored)
        count = min(int(np.searchsorted(ends, stored)) + 1, len(ends)) if stored > 0 else 0
        size = int(ends[count - 1]) if count else 0
        return Block(
            self.tokens[:size], self.kept[:count], self.text_bytes[:count], self.stored[:count]
        )


def encode_block(tokenizer: Tokenizer, texts: Sequence[str], row_tokens: int = 0) -> Block:
    """The tokens of `texts`, an EOS after each.

    `row_tokens` 0 packs; otherwise every document becomes a row, cut or padded to that many.
    """
    encoded = tokenizer.encode(texts)
    lengths = np.array([len(tokens) + 1 for tokens in encoded], np.int64)
    text_bytes = np.array([len(text.encode()) for text in texts], np.int64)
    if not row_tokens:
        end = np.array([EOS], np.uint16)
        pieces = [piece for tokens in encoded for piece in (tokens, end)]
        tokens = np.concatenate(pieces) if pieces else np.empty(0, np.uint16)
        return Block(tokens, lengths, text_bytes, lengths)
    rows = np.full((len(encoded), row_tokens), PAD, np.uint16)
    for row, tokens in zip(rows, encoded, strict=True):
        row[: len(tokens)] = tokens[:row_tokens]
        row[len(tokens) : len(tokens) + 1] = EOS
    kept = np.minimum(lengths, row_tokens)
    stored = np.full(len(encoded), row_tokens, np.int64)
    # In proportion, as no tokenizer tells a token's own bytes.
    of_kept = np.rint(text_bytes * kept / lengths).astype(np.int64)
    return Block(rows.reshape(-1), kept, of_kept, stored)
