"""Builds `<data_dir>/wmt_small/`: tokens in `arrays.npz`, the vocabulary in `tokenizer.model`."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from ...base.row_order import RowOrder
from ...c4.tokenizers import train_sentencepiece
from ...errors import DataError
from ..prepared import Prepared, Progress
from ..sources import HOME_ASSISTANT, INDICO
from ..wheel import Wheel, download_wheel
from .cleaning import clean
from .dataset import ARRAYS, TOKENIZER, WMT_SMALL
from .packing import TokenPair, pack, to_arrays
from .pairs import Pair, read_home_assistant, read_indico
from .splits import split
from .tokenizer import Tokenizer

Fetch = Callable[[Wheel, Path], Path]


def prepare(
    data_dir: str | Path,
    progress: Progress | None = None,
    prepared: Prepared = WMT_SMALL,
    wheels: tuple[Wheel, Wheel] = (HOME_ASSISTANT.wheel, INDICO.wheel),
    fetch: Fetch = download_wheel,
) -> None:
    """Prepares the data set once; does nothing where it is prepared already.

    Args:
      data_dir: where `wmt_small/` belongs.
      progress: called with what is being done and the fraction done so far.
      prepared: what must come out.
      wheels: Home Assistant's and Indico's.
      fetch: downloads a wheel into a folder and returns its path.

    Raises DataError, one line, if the data cannot be had or a present folder cannot be used.
    """
    build = partial(_build, facts=prepared.facts, wheels=wheels, fetch=fetch)
    prepared.prepare(data_dir, build, progress)


def _build(
    folder: Path,
    progress: Progress,
    facts: Mapping[str, Any],
    wheels: tuple[Wheel, Wheel],
    fetch: Fetch,
) -> dict[str, Any]:
    pairs: list[Pair] = []
    for i, (wheel, read) in enumerate(zip(wheels, (read_home_assistant, read_indico), strict=True)):
        progress(f"downloading {wheel.requirement}", 0.4 * i)
        path = fetch(wheel, folder)
        progress("reading the strings", 0.4 * i + 0.35)
        try:
            pairs += read(path)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise DataError(f"{path.name} cannot be read ({error!r})") from error
        path.unlink()
    progress("grouping near-duplicates", 0.8)
    divided = split(clean(pairs))
    progress("vocabulary", 0.9)
    texts = [text for pair in divided["train"] for text in pair]
    trained = train_sentencepiece(texts, facts["vocab_size"])
    (folder / TOKENIZER).write_bytes(trained.model)
    progress("tokens", 0.95)
    _, num_eval_train, *_ = facts["rows"]
    rows = _rows(divided, Tokenizer(trained.model), facts["length"], num_eval_train)
    found = {
        "rows": [*map(len, rows.values())],
        "train_pairs": sum(map(len, rows["train"])),
        "tokenizer_sha256": trained.sha256,
    }
    expected = {name: facts.get(name, value) for name, value in found.items()}
    if found != expected:
        raise DataError(
            f"the strings give {found} with sentencepiece {sentencepiece.__version__}, "
            f"expected {expected}: install the sentencepiece version that "
            "requirements.txt names"
        )
    arrays = {}
    for name, split_rows in rows.items():
        inputs, targets = to_arrays(split_rows, facts["length"])
        arrays |= {f"{name}_inputs": inputs, f"{name}_targets": targets}
    np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)
    return {
        "sources": [wheel.requirement for wheel in wheels],
        "sentencepiece_version": sentencepiece.__version__,
    }


def _rows(
    divided: Mapping[str, Sequence[Pair]], tokenizer: Tokenizer, length: int, num_eval_train: int
) -> dict[str, list[list[TokenPair]]]:
    """Every split's rows of pairs that fit; several pairs to a row for training, else one."""
    tokens: dict[str, list[TokenPair]] = {}
    for name, pairs in divided.items():
        encoded = [(tokenizer.encode(source), tokenizer.encode(target)) for source, target in pairs]
        tokens[name] = [pair for pair in encoded if max(map(len, pair)) <= length]
    # In another order than the sources', where neighbours are about one thing.
    count = len(tokens["train"])
    train = [tokens["train"][i] for i in RowOrder(count, seed=0).rows(0, count)]
    return {
        "train": [[train[i] for i in row] for row in pack(train, length)],
        "eval_train": _by_length(train[:num_eval_train]),
        "validation": _by_length(tokens["validation"]),
        "test": _by_length(tokens["test"]),
    }


def _by_length(pairs: Sequence[TokenPair]) -> list[list[TokenPair]]:
    """One to a row, by the sources' lengths: a batch is decoded until its last string has ended."""
    return [[pair] for pair in sorted(pairs, key=lambda pair: len(pair[0]))]
