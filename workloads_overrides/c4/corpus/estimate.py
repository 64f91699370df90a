"""What a preparation will take, from its first documents: time, disk, and how much input."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..blocks import encode_block
from ..meta import TOKEN_BYTES
from ..sources.unit import BadDocuments, Source, Unit
from ..tokenizers import Tokenizer
from .progress import amount, duration
from .schedule import SplitWork

SAMPLE_CHARACTERS = 2 << 20  # half a second or less of one process
_SPARE_BYTES = 64 << 20  # for records, tables and what else the disk is used for meanwhile


@dataclass(frozen=True)
class Rates:
    """Of the first documents.

    Attributes:
      text_per_token: bytes of text per stored token.
      input_per_token: bytes of input, compressed if it is; 0 where a unit's size is not known.
      seconds_per_token: of one process.
    """

    text_per_token: float
    input_per_token: float
    seconds_per_token: float

    @property
    def tokens_per_input(self) -> float:
        return 1 / self.input_per_token if self.input_per_token else 0.0


def measure(source: Source, unit: Unit, tokenizer: Tokenizer, row_tokens: int) -> Rates | None:
    """The rates of a unit's first documents; None if they cannot be read."""
    start = 0.0
    texts: list[str] = []
    characters = read = 0
    try:
        for text, position in source.documents(unit, BadDocuments(skip=True)):
            # From the first document on: TensorFlow takes seconds to be imported.
            start = start or time.perf_counter()
            texts.append(text)
            characters += len(text)
            read = position
            if characters >= SAMPLE_CHARACTERS:
                break
    except DataError:  # it will be told if the unit turns out to be needed
        pass
    if not texts:
        return None
    tokens = encode_block(tokenizer, texts, row_tokens).tokens
    elapsed = time.perf_counter() - start
    return Rates(
        text_per_token=sum(len(text.encode()) for text in texts) / len(tokens),
        input_per_token=read / len(tokens) if unit.size else 0.0,
        seconds_per_token=elapsed / len(tokens),
    )


def describe(works: Mapping[str, SplitWork], rates: Rates, jobs: int) -> str:
    """One line on what is left to do."""
    tokens = _tokens_left(works)
    words = [f"{tokens:,} tokens to make"]
    if rates.input_per_token:
        words.append(f"of about {amount(tokens * rates.input_per_token)} of input")
    words.append(f"({amount(tokens * rates.text_per_token)} of text)")
    seconds = tokens * rates.seconds_per_token / jobs
    result = TOKEN_BYTES * sum(work.needed for work in works.values())
    return (
        f"{' '.join(words)}: about {duration(seconds)} with {jobs} "
        f"{'process' if jobs == 1 else 'processes'}; the result has {amount(result)}"
    )


def doubts(works: Mapping[str, SplitWork], rates: Rates) -> list[str]:
    """Splits whose files look too small for what is needed."""
    found = []
    for work in works.values():
        sizes = [task.unit.size for task in work.tasks]
        likely = sum(sizes) * rates.tokens_per_input
        if all(sizes) and rates.input_per_token and likely < work.needed:
            found.append(
                f"the files of {work.split} seem to have about {likely:,.0f} tokens, but "
                f"{work.needed:,} are needed"
            )
    return found


def check_disk(folder: Path, works: Mapping[str, SplitWork], rates: Rates, jobs: int) -> None:
    """Raises DataError if the file system of `folder` has not the space that is needed."""
    # A split's last unit is there whole beside its used beginning, and so are some not used at all.
    unit = max(
        min(task.unit.size * rates.tokens_per_input, task.max_tokens)
        for work in works.values()
        for task in work.tasks
    )
    tokens = _tokens_left(works) + unit * (2 * len(works) + jobs - 1)
    needed = int(tokens * TOKEN_BYTES) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder} has {amount(free)} free, but about {amount(needed)} are needed for the "
            "tokens: make room or choose another --data_dir"
        )


def _tokens_left(works: Mapping[str, SplitWork]) -> int:
    return sum(work.needed - work.done(0) for work in works.values())
