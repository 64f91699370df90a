"""Training, validation and test documents: by service, and with no text in common.

Interfaces resemble each other, so that documents of one service repeat sentences of another's. A
document is held out only if none of its runs of eight words is in a split that comes before.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from .documents import words

RUN = 8
HELD_OUT = {"validation": 0.05, "test": 0.05}  # shares of the services
_MIX = np.uint64(0x9E3779B97F4A7C15)


def split_of(service: str) -> str:
    """The split of a service, from a hash of its name."""
    digest = hashlib.sha256(service.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    for split, share in HELD_OUT.items():
        if position < share:
            return split
        position -= share
    return "train"


def split_documents(documents: Mapping[str, str], train_characters: int) -> dict[str, list[str]]:
    """Texts per split in an order that is random but always the same.

    Args:
      documents: {text: service}, texts of at least eight words.
      train_characters: the training split ends with the document that reaches this many.
    """
    shuffled = sorted(documents, key=lambda text: hashlib.sha256(text.encode()).digest())
    splits: dict[str, list[str]] = {"train": [], **{name: [] for name in HELD_OUT}}
    for text in shuffled:
        splits[split_of(documents[text])].append(text)
    lengths = np.cumsum([len(text) for text in splits["train"]])
    del splits["train"][int(np.searchsorted(lengths, train_characters)) + 1 :]
    numbers: dict[str, int] = {}
    known = np.sort(_runs(splits["train"], numbers)[0])
    for name in HELD_OUT:
        runs, owners = _runs(splits[name], numbers)
        fresh = np.ones(len(splits[name]), bool)
        fresh[owners[_are_in(runs, known)]] = False
        splits[name] = [text for text, keep in zip(splits[name], fresh, strict=True) if keep]
        known = np.sort(np.concatenate([known, runs[fresh[owners]]]))
    return splits


def _are_in(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which `values` are among the sorted `known`; np.isin would sort both of them."""
    if not len(known):
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[places] == values


def _runs(texts: Sequence[str], numbers: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """A 64-bit hash of every run of eight words within a text, and the number of its text.

    `numbers` has the words' numbers, in the order in which they have come, and gets new ones.
    """
    ids = [[numbers.setdefault(word, len(numbers)) for word in words(text)] for text in texts]
    flat = np.array([number for text in ids for number in text], np.uint64)
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in ids])
    count = max(len(flat) - RUN + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for offset in range(RUN):
        hashes = (hashes ^ (hashes >> np.uint64(29)) ^ flat[offset : offset + count]) * _MIX
    within = owners[:count] == owners[RUN - 1 :]
    return hashes[within], owners[:count][within]
