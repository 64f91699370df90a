"""Makes the parts that the splits still take, side by side."""

from collections.abc import Mapping, Sequence

from ..sources.unit import Source
from ..tokenizers import Tokenizer
from .estimate import Rates
from .part import PartRecord, PartTask
from .pool import Pool, Running
from .progress import Meter, Reporter, amount
from .result import Used
from .schedule import SplitWork


def make_parts(
    source: Source,
    tokenizer: Tokenizer,
    works: Mapping[str, SplitWork],
    rates: Rates | None,
    jobs: int,
    reporter: Reporter,
) -> dict[str, Used]:
    """Makes parts until every split has enough; returns what each takes, see `SplitWork.used`.

    Raises DataError for input that is needed and cannot be read or is too little, OSError for a
    disk that refuses.
    """
    tokens_per_byte = rates.tokens_per_input if rates else 0.0
    display = _Display(works, reporter)
    used: dict[str, Used] = {}
    with Pool(source, tokenizer, jobs, display) as pool:
        while True:
            for split, work in works.items():
                if split not in used and (parts := work.used()) is not None:
                    used[split] = parts
                    pool.stop(split)
            if len(used) == len(works):
                return used
            while pool.has_room and (task := _next(works, used, tokens_per_byte)) is not None:
                pool.start(task)
            for task, outcome in pool.finished():
                works[task.unit.split].set(task, outcome)
                if isinstance(outcome, PartRecord):
                    display.finished.append((task, outcome))


def _next(
    works: Mapping[str, SplitWork], used: Mapping[str, Used], tokens_per_byte: float
) -> PartTask | None:
    for split, work in works.items():
        if split not in used and (task := work.next(tokens_per_byte)) is not None:
            return task
    return None


class _Display:
    """Shows how far all splits are. `finished` has the parts of this call."""

    def __init__(self, works: Mapping[str, SplitWork], reporter: Reporter) -> None:
        self.finished: list[tuple[PartTask, PartRecord]] = []
        self._works = works
        self._meter = Meter(reporter)
        self._needed = sum(work.needed for work in works.values())

    def __call__(self, running: Sequence[Running]) -> None:
        read = sum(task.unit.size for task, _ in self.finished)
        text_bytes = sum(record.text_bytes for _, record in self.finished)
        being_made = dict.fromkeys(self._works, 0)
        for part in running:
            read += part.position
            text_bytes += part.text_bytes
            being_made[part.task.unit.split] += part.tokens
        done = sum(work.done(being_made[split]) for split, work in self._works.items())
        what = f"{len(self.finished)} parts finished, {amount(read)} of input read"
        self._meter.show(done / self._needed, what, text_bytes)
