"""From text to token numbers: 0 pads, 1 ends a document. Needed in preparation only.

`sentencepiece` is imported when a tokenizer of its kind is made: training needs none.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import DataError

PAD, EOS = 0, 1


class Tokenizer(Protocol):
    """What preparation writes shards with.

    Attributes:
      name: for people, in meta.json.
      vocab_size: every token is below it.
      sha256: of what defines the tokens; a target holds for one tokenizer.
    """

    name: str
    vocab_size: int
    sha256: str

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of every text, uint16, without EOS."""
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


class SentencePieceTokenizer:
    """A trained SentencePiece model (arXiv 1808.06226), by the bytes of its file."""

    name = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        """Raises DataError unless `model` can be read, and has PAD and EOS where they belong."""
        import sentencepiece

        self.model = model
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
        if self.vocab_size > 1 << 16:
            raise DataError(f"{self.vocab_size} tokens do not fit into 16 bits")

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        encoded = self._processor.encode(list(texts), out_type=int, num_threads=1)
        return [np.array(tokens, np.uint16) for tokens in encoded]

    def decode(self, tokens: np.ndarray) -> str:
        """The text of tokens, without pads and ends."""
        return self._processor.decode(tokens[tokens > EOS].tolist())


def load_sentencepiece(path: str | Path, sha256: str) -> SentencePieceTokenizer:
    """The model in a file, such as T5's `spiece.model`, which has 32,000 pieces.

    Raises DataError unless the file is there with that SHA-256 (hex).
    """
    try:
        model = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the tokenizer {path}: {error.strerror}") from error
    tokenizer = SentencePieceTokenizer(model)
    if tokenizer.sha256 != sha256:
        raise DataError(f"the tokenizer {path} has sha256 {tokenizer.sha256}, expected {sha256}")
    return tokenizer


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Byte-pair encoding trained on `texts`; the same texts give the same bytes.

    Pairs are chosen by counts, in integers: the model does not depend on a machine's rounding, as
    one of SentencePiece's unigram kind may. Text is taken as it comes, without normalisation.
    Raises DataError if the texts have too few different words for that many pieces.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            pad_id=PAD,
            eos_id=EOS,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(f"cannot train {vocab_size} pieces: {str(error).strip()}") from error
    return SentencePieceTokenizer(model.getvalue())
