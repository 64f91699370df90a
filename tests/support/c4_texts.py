"""Made-up documents with many different words, and files of them in the format of C4's."""

import gzip
import json

import numpy as np


def documents(count: int, seed: int, words: int = 3000, length: int = 80) -> list[str]:
    """Documents of `length` words on average, the first words much commoner than the last."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    share = np.arange(26, 0, -1) / np.arange(26, 0, -1).sum()
    known = ["".join(rng.choice(letters, rng.integers(2, 10), p=share)) for _ in range(words)]
    commonness = 1 / np.arange(1, words + 1)
    texts = []
    for _ in range(count):
        size = int(rng.integers(2, 2 * length))
        chosen = rng.choice(words, size, p=commonness / commonness.sum())
        texts.append(" ".join(known[word] for word in chosen).capitalize() + ".")
    return texts


def json_lines(texts: list[str]) -> bytes:
    return b"".join(
        json.dumps({"text": text, "timestamp": "2019-04-25T12:57:54Z", "url": "u"}).encode() + b"\n"
        for text in texts
    )


def write_json_gz(path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0))


def split_files(split: str, count: int, seed: int) -> dict[str, list[str]]:
    """{file name: documents} of `count` files as C4 names them."""
    return {
        f"c4-{split}.{i:05d}-of-{count:05d}.json.gz": documents(7, seed + i, length=5)
        for i in range(count)
    }
