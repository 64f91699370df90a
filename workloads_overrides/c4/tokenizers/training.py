"""Vocabularies that are trained here, by SentencePiece (arXiv 1808.06226)."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import DataError
from .base import EOS, MAX_VOCABULARY, PAD
from .pieces import SentencePieceTokenizer

OWN_VOCABULARY = 32_000
OWN_CHARACTERS = 30_000_000  # of text to train on: a minute or so
SENTENCE_BYTES = 4192  # SentencePiece's own limit: it leaves longer ones out without a word
_SENTENCE_CHARACTERS = SENTENCE_BYTES // 4  # a character has at most four bytes


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Byte-pair encoding trained on `texts`; the same texts give the same bytes.

    Pairs are chosen by counts, in integers: the model does not depend on a machine's rounding, as
    one of SentencePiece's unigram kind may. Text is taken as it comes, without normalisation.
    Raises DataError if the texts have too few different words for that many pieces.
    """
    model = _train(
        texts,
        vocab_size,
        model_type="bpe",
        character_coverage=1.0,
        normalization_rule_name="identity",
    )
    return SentencePieceTokenizer(model)


def train_own(
    texts: Iterable[str], vocab_size: int = OWN_VOCABULARY, max_characters: int = OWN_CHARACTERS
) -> SentencePieceTokenizer:
    """A vocabulary of T5's kind for those who have not T5's file, trained on the first `texts`.

    Like T5's it is a unigram model with NFKC normalisation, which makes every run of white space
    one blank. Unlike T5's it has a token for every byte, so that no character is unknown: those
    beyond the commonest, which make up 99.95 percent of the text, are spelt in bytes. Both are
    this project's choice, and so is the kind: it encodes several times faster than byte-pair
    encoding, and a corpus is encoded far longer than a vocabulary is trained.

    The same texts give the same bytes on one machine with one version of SentencePiece. Training
    computes in floating point, so others may differ: a corpus that is prepared on two machines
    needs the model of one of them. No target that was set with another tokenizer holds.

    Args:
      texts: read until `max_characters` are had, and no further.
      vocab_size: pieces, with the 256 bytes and pad, end and unknown.

    Raises DataError if the texts have too few different words for that many pieces.
    """
    model = _train(
        _sentences(texts, max_characters),
        vocab_size,
        model_type="unigram",
        character_coverage=0.9995,
        normalization_rule_name="nmt_nfkc",
        byte_fallback=True,
        max_sentence_length=SENTENCE_BYTES,
    )
    return SentencePieceTokenizer(model, "own")


def _train(sentences: Iterable[str], vocab_size: int, **options: Any) -> bytes:
    if vocab_size > MAX_VOCABULARY:  # training would take a while to come to it
        raise DataError(f"{vocab_size} tokens do not fit into 16 bits")
    import sentencepiece

    failures: list[BaseException] = []

    def watched() -> Iterator[str]:
        try:
            yield from sentences
        except (Exception, KeyboardInterrupt) as error:
            failures.append(error)
            raise

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=watched(),
            model_writer=model,
            vocab_size=vocab_size,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
            **options,
        )
    except (RuntimeError, SystemError) as error:  # the latter of version 0.2.0, if reading fails
        if failures:  # reading failed, not training, which tells it in words of its own
            raise failures[0] from None
        raise DataError(f"cannot train {vocab_size} pieces: {_reason(str(error))}") from error
    return model.getvalue()


def _reason(message: str) -> str:
    """One line of SentencePiece's own words, where they are not to be had in better ones."""
    if most := re.search(r"Please set it to a value <= (\d+)", message):
        return f"the text has words for {most[1]} at most: take fewer pieces, or more text"
    if "!sentences_.empty()" in message:
        return "there is no text"
    return " ".join(message.split())


def _sentences(texts: Iterable[str], max_characters: int) -> Iterator[str]:
    """The lines of texts, in pieces that the trainer takes, until there are enough."""
    for text in texts:
        for line in text.splitlines():
            for sentence in _pieces(line):
                yield sentence
                max_characters -= len(sentence)
                if max_characters <= 0:
                    return


def _pieces(line: str) -> Iterator[str]:
    """A line cut at blanks, or within words that have more characters than a piece may."""
    while len(line) > _SENTENCE_CHARACTERS:
        blank = line.rfind(" ", 1, _SENTENCE_CHARACTERS + 1)
        end = _SENTENCE_CHARACTERS if blank < 0 else blank
        yield line[:end]
        line = line[end:].lstrip(" ")
    if line:
        yield line
