"""What every tokenizer gives: numbers of 16 bits, of which 0 pads and 1 ends a document."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...errors import DataError

PAD, EOS = 0, 1
MAX_VOCABULARY = 1 << 16  # shards hold 16 bits a token


class Tokenizer(Protocol):
    """What preparation writes shards with. It can be pickled, for processes that share the work.

    Attributes:
      name: for people, in meta.json.
      vocab_size: every token is below it.
      sha256: of what defines the tokens; a target holds for one tokenizer.
    """

    name: str
    vocab_size: int
    sha256: str

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of every text, uint16, without EOS.

        Texts must be encodable as UTF-8, which strings with lone surrogates are not.
        """
        ...


class ByteTokenizer:
    """A token per byte of UTF-8, from 2 on."""

    name = "byte"
    vocab_size = 258
    sha256 = hashlib.sha256(b"pad eos 0-255").hexdigest()

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), np.uint8).astype(np.uint16) + 2 for text in texts]

    def decode(self, tokens: np.ndarray) -> str:
        """The text of tokens, without pads and ends."""
        kept = tokens[tokens >= 2] - 2
        return kept.astype(np.uint8).tobytes().decode(errors="replace")


def check_vocabulary(tokenizer: Tokenizer, model_vocab: int) -> None:
    """Raises DataError if `tokenizer` has tokens that a model of `model_vocab` tokens has not.

    To be asked before a preparation: `meta.check_tokens` asks it again of what was prepared.
    """
    if tokenizer.vocab_size > model_vocab:
        raise DataError(
            f"the tokenizer {tokenizer.name} has {tokenizer.vocab_size} tokens, "
            f"but the model knows {model_vocab} only"
        )
