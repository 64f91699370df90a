"""From text to token numbers: 0 pads, 1 ends a document. Needed in preparation only."""

from .base import EOS, MAX_VOCABULARY, PAD, ByteTokenizer, Tokenizer, check_vocabulary
from .pieces import T5_SHA256, SentencePieceTokenizer, load_sentencepiece, load_t5
from .training import train_own, train_sentencepiece

__all__ = [
    "EOS",
    "MAX_VOCABULARY",
    "PAD",
    "T5_SHA256",
    "ByteTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "check_vocabulary",
    "load_sentencepiece",
    "load_t5",
    "train_own",
    "train_sentencepiece",
]
