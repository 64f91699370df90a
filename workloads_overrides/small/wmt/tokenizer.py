"""One SentencePiece vocabulary (arXiv 1808.06226) for both languages.

Byte-pair encoding (arXiv 1508.07909) on the text as it is. Token 0 pads, 1 ends a string, 2 is
anything unknown; there is no token for a beginning, which 0 marks as in AlgoPerf.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

PAD, EOS, UNKNOWN = 0, 1, 2


def train(texts: Iterable[str], vocab_size: int) -> bytes:
    """The model of exactly `vocab_size` tokens: a function of the texts and their order alone.

    Raises RuntimeError if the texts do not have that many pieces.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        pad_id=PAD,
        eos_id=EOS,
        unk_id=UNKNOWN,
        bos_id=-1,
        character_coverage=1.0,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


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
