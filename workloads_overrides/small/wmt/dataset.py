"""The prepared data set: rows of tokens, and the tokenizer that made them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..prepared import Prepared
from ..sources import HOME_ASSISTANT, INDICO
from .tokenizer import PAD, Tokenizer

ARRAYS, TOKENIZER = "arrays.npz", "tokenizer.model"

VOCAB_SIZE = 2048
# Targets hold for one vocabulary. Byte-pair encoding is made of counts: the same everywhere.
TOKENIZER_SHA256 = "d98e3c70934253b055cc4dbe93b7b5cf0b93b6b6e67cb7731523c7e6a744bcdd"
# Tokens per string, EOS included; pairs with a longer string are dropped.
LENGTH = 20

NUM_TRAIN = 6_379  # rows, into which NUM_TRAIN_PAIRS are packed
NUM_TRAIN_PAIRS = 13_061
NUM_EVAL_TRAIN = 96  # of the training pairs
NUM_VALIDATION = 193
NUM_TEST = 202

WMT_SMALL = Prepared(
    workload="wmt_small",
    folder="wmt_small",
    facts={
        "format_version": 1,  # raise it when the choice of pairs, their order or arrays change
        "sources_sha256": [HOME_ASSISTANT.wheel.sha256, INDICO.wheel.sha256],
        "vocab_size": VOCAB_SIZE,
        "tokenizer_sha256": TOKENIZER_SHA256,
        "length": LENGTH,
        "rows": [NUM_TRAIN, NUM_EVAL_TRAIN, NUM_VALIDATION, NUM_TEST],
        "train_pairs": NUM_TRAIN_PAIRS,
    },
    files=(ARRAYS, TOKENIZER),
)


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of pairs of strings, as `packing.to_arrays` lays them out: (n, LENGTH) int32 each."""

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, ids: np.ndarray, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        """Rows `ids`, with weights (float32) of 1 for every target token, EOS included."""
        del rng
        targets = self.targets[ids]
        weights = (targets != PAD).astype(np.float32)
        return {"inputs": self.inputs[ids], "targets": targets, "weights": weights}


@dataclass(frozen=True, eq=False)
class Translation:
    """All splits by name ('eval_train' is part of 'train'), and the tokenizer."""

    splits: dict[str, TokenRows]
    tokenizer: Tokenizer


def load(data_dir: str | Path) -> Translation:
    """The data set under `data_dir`, read once per process; DataError if it cannot be used."""
    return _load(Path(data_dir).absolute())


@lru_cache(maxsize=4)
def _load(data_dir: Path) -> Translation:
    folder = WMT_SMALL.path(data_dir)
    with np.load(folder / ARRAYS) as arrays:
        splits = {
            name: TokenRows(arrays[f"{name}_inputs"], arrays[f"{name}_targets"])
            for name in ("train", "eval_train", "validation", "test")
        }
    return Translation(splits, Tokenizer.read(folder / TOKENIZER))
