"""The preparation from end to end; see `prepare_corpus`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...base.cache import locked
from ...errors import DataError
from ..amounts import Amounts, size_of
from ..meta import FOLDER, TOKEN_BYTES, read_origin
from ..sizes import Size
from ..sources.unit import SPLITS, Source
from ..tokenizers import Tokenizer, check_vocabulary
from . import estimate
from .make import make_parts
from .progress import LABEL, Reporter, amount, duration
from .ready import check_suffices
from .result import Used, write_result
from .schedule import SplitWork
from .vocabulary import Vocabulary
from .work import WorkFolder


@dataclass(frozen=True)
class Request:
    """What is to be prepared, from what and how.

    Attributes:
      source: of the documents.
      data_dir: the result is its subfolder `c4`.
      workload: one of `amounts.WORKLOADS`.
      amounts: how much.
      vocabulary: the tokenizer.
      jobs: processes that work side by side.
      skip_bad_lines: count documents that cannot be read; otherwise one is an error.
      overwrite: prepare anew what is prepared or begun.
    """

    source: Source
    data_dir: Path
    workload: str
    amounts: Amounts
    vocabulary: Vocabulary
    jobs: int = 1
    skip_bad_lines: bool = False
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        return self.data_dir / FOLDER

    @property
    def size(self) -> Size:
        return size_of(self.workload)

    def plan(self) -> dict:
        """What a call that goes on with another's work must have in common with it."""
        return {
            "source": self.source.facts(),
            "tokenizer": self.vocabulary.plan(),
            **self.amounts.to_json(),
            **self.vocabulary.versions(),
        }


def prepare_corpus(request: Request, reporter: Reporter) -> None:
    """Prepares `<data_dir>/c4`, whole or not at all; where it is there, only checks it.

    The result is the same, byte for byte, however many processes make it and however often it was
    interrupted: what is finished stays in `<data_dir>/.c4.partial`, and the next call goes on.

    Raises DataError, one line, if it cannot be had.
    """
    work = WorkFolder(request.data_dir / f".{FOLDER}.partial")
    try:
        if not work.path.exists() and _is_ready(request, reporter):
            return  # even where nothing can be written
        request.data_dir.mkdir(parents=True, exist_ok=True)
        with locked(request.data_dir / f".{FOLDER}.lock", wait=False):
            if _is_ready(request, reporter):
                work.clean_up(request.folder)
            else:
                _prepare(request, work, reporter)
    except BlockingIOError as error:
        raise DataError(
            f"{request.folder} is being prepared by another process: wait for it, or end it"
        ) from error
    except OSError as error:
        where = error.filename or request.data_dir
        raise DataError(
            f"cannot prepare {request.folder}: {error.strerror or error}: {where}; what is "
            "finished is kept for the next call"
        ) from error


def _is_ready(request: Request, reporter: Reporter) -> bool:
    """Whether the result is there and to be kept; DataError if it is not what is asked for."""
    if not request.folder.exists() or request.overwrite:
        return False
    check_suffices(request.folder, request.amounts, request.size, request.vocabulary)
    reporter.note(
        f"{request.folder} is there already, with all that {request.workload} needs; "
        f"{read_origin(request.folder)}"
    )
    return True


def _prepare(request: Request, work: WorkFolder, reporter: Reporter) -> None:
    start = time.monotonic()
    request.vocabulary.check_size(request.size.model.vocab)
    work.open(request.plan(), request.overwrite)
    if not work.is_whole:
        tokenizer = request.vocabulary.load(
            request.source, work, request.skip_bad_lines, reporter.note
        )
        check_vocabulary(tokenizer, request.size.model.vocab)
        used = _make_parts(request, work, tokenizer, reporter)
        facts, versions = request.source.facts(), request.vocabulary.versions()
        left_out = write_result(work, used, tokenizer, request.amounts, facts, versions)
        if text := str(left_out):
            reporter.note(text)
    work.finish(request.folder)
    stored = sum(request.amounts.tokens(split) for split in SPLITS)
    reporter.end(
        LABEL,
        f"{stored:,} tokens ({amount(TOKEN_BYTES * stored)}) are in {request.folder}, after "
        f"{duration(time.monotonic() - start)}",
    )


def _make_parts(
    request: Request, work: WorkFolder, tokenizer: Tokenizer, reporter: Reporter
) -> dict[str, Used]:
    """Every split's parts that the result is made of."""
    # The small splits first: if a corpus has too little for them, it is soon told.
    order = sorted(SPLITS, key=request.amounts.tokens)
    works = {split: _split_work(request, work, tokenizer, split) for split in order}
    _find_parts(works, work, reporter)
    found: dict[str, Used] = {}
    for split, splits in works.items():
        if (parts := splits.used()) is not None:
            found[split] = parts
    if len(found) == len(works):
        return found
    unit = works["train"].tasks[0].unit
    row_tokens = request.amounts.row_tokens
    rates = estimate.measure(request.source, unit, tokenizer, row_tokens)
    if rates is not None:
        reporter.note(estimate.describe(works, rates, request.jobs))
        for doubt in estimate.doubts(works, rates):
            reporter.note(doubt)
        estimate.check_disk(request.data_dir, works, rates, request.jobs)
    return make_parts(request.source, tokenizer, works, rates, request.jobs, reporter)


def _split_work(request: Request, work: WorkFolder, tokenizer: Tokenizer, split: str) -> SplitWork:
    tasks = [
        work.task(index, unit, request.amounts, tokenizer.sha256, request.skip_bad_lines)
        for index, unit in enumerate(request.source.units(split))
    ]
    return SplitWork(split, tasks, request.amounts.tokens(split))


def _find_parts(works: Mapping[str, SplitWork], work: WorkFolder, reporter: Reporter) -> None:
    """Takes what earlier calls have finished, after a look at every byte of it."""
    tasks = [task for splits in works.values() for task in splits.tasks if task.record.exists()]
    found = 0
    for number, task in enumerate(tasks):
        what = f"checking what is finished, {number} of {len(tasks)} parts"
        reporter.update(LABEL, number / len(tasks), what)
        record = work.find(task)
        if record is not None:
            works[task.unit.split].set(task, record)
            found += 1
    if tasks:
        again = f"; {len(tasks) - found} damaged or of other input, made again"
        reporter.note(f"{found} parts are finished already{again if found < len(tasks) else ''}")
