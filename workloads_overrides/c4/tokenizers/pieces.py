"""SentencePiece models from files: T5's, and any other by its checksum.

`sentencepiece` is imported when a tokenizer is made: training needs none.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from .base import EOS, MAX_VOCABULARY, PAD

# Of the file that every T5 checkpoint up to t5-11b shares (arXiv 1910.10683): 32,000 pieces of the
# unigram kind with NFKC normalisation, pad 0, eos 1, unknown 2. GaLore's and SOAP's runs use it.
T5_SHA256 = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
T5_BYTES = 791_656
T5_URL = "https://huggingface.co/google-t5/t5-base/resolve/main/spiece.model"


class SentencePieceTokenizer:
    """A trained SentencePiece model (arXiv 1808.06226), by the bytes of its file.

    Attributes:
      model: these bytes; all that is pickled.
      name, vocab_size, sha256: as in `Tokenizer`.
    """

    def __init__(self, model: bytes, name: str = "sentencepiece") -> None:
        """Raises DataError unless `model` can be read, has PAD and EOS where they belong, and its
        tokens fit into 16 bits."""
        import sentencepiece

        self.model = model
        self.name = name
        self.sha256 = hashlib.sha256(model).hexdigest()
        self._processor: Any = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise DataError(f"not a SentencePiece model ({str(error).strip()})") from error
        self.vocab_size: int = self._processor.get_piece_size()
        found = self._processor.pad_id(), self._processor.eos_id()
        if found != (PAD, EOS):
            raise DataError(
                f"the SentencePiece model has pad and eos {found}, expected {(PAD, EOS)}"
            )
        if self.vocab_size > MAX_VOCABULARY:
            raise DataError(f"{self.vocab_size} tokens do not fit into 16 bits")

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        encoded = self._processor.encode(list(texts), out_type=int, num_threads=1)
        return [np.array(tokens, np.uint16) for tokens in encoded]

    def decode(self, tokens: np.ndarray) -> str:
        """The text of tokens, without pads and ends."""
        return self._processor.decode(tokens[tokens > EOS].tolist())

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceTokenizer, (self.model, self.name)


def load_sentencepiece(
    path: str | Path, sha256: str, name: str = "sentencepiece"
) -> SentencePieceTokenizer:
    """The model in a file.

    Raises DataError unless the file is there with that SHA-256 (hex), and can be used.
    """
    try:
        model = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the tokenizer {path}: {error.strerror}") from error
    found = hashlib.sha256(model).hexdigest()
    if found != sha256:
        raise DataError(
            f"the tokenizer {path} has {len(model):,} bytes and sha256 {found}, expected {sha256}"
        )
    return SentencePieceTokenizer(model, name)


def load_t5(path: str | Path) -> SentencePieceTokenizer:
    """T5's tokenizer of 32,000 pieces from its file `spiece.model`, which is not shipped here.

    Raises DataError that says where the file comes from, unless `path` is it.
    """
    try:
        return load_sentencepiece(path, T5_SHA256, "t5")
    except DataError as error:
        raise DataError(
            f"{error}: T5's tokenizer is `spiece.model` of huggingface's t5-base repository, "
            f"{T5_URL}, {T5_BYTES:,} bytes, sha256 {T5_SHA256}"
        ) from error
