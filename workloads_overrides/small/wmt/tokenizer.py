"""One SentencePiece vocabulary (arXiv 1808.06226) for both languages.

Trained as `c4.tokenizers` does: byte-pair encoding (arXiv 1508.07909) on the text as it is, token 0
pads, 1 ends a string, 2 is anything unknown. There is no token for a beginning, which 0 marks as in
AlgoPerf.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from ...c4.tokenizers import EOS, PAD

UNKNOWN = 2

__all__ = ["EOS", "PAD", "UNKNOWN", "Tokenizer"]


class Tokenizer:
    """Text to token numbers and back."""

    def __init__(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def read(cls, path: Path) -> "Tokenizer":
        """From a model's file."""
        return cls(path.read_bytes())

    @property
    def vocab_size(self) -> int:
        return self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, EOS last."""
        return [*self._processor.encode(text), EOS]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text before the first EOS, or all of it; PAD gives nothing."""
        numbers = [int(token) for token in tokens]
        if EOS in numbers:
            numbers = numbers[: numbers.index(EOS)]
        return self._processor.decode(numbers)
