"""Finished parts become the result: whole ones move, the last of a split is cut, and it is told."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...base.files import file_sha256, naming, sync, write_atomically
from ..amounts import Amounts
from ..meta import META, TOKEN_BYTES, Meta, SplitMeta
from ..sources.unit import SPLITS
from ..tokenizers import Tokenizer
from .cut import cut
from .part import PartRecord, PartTask
from .work import WorkFolder

Used = Sequence[tuple[PartTask, PartRecord, int]]  # see SplitWork.used
_CHUNK = 1 << 24  # bytes copied at once


@dataclass(frozen=True)
class LeftOut:
    """What could not be read: documents, and rests of files; where and why, of the first."""

    documents: int
    files: int
    first: str

    def __str__(self) -> str:
        """'' if there was nothing."""
        told = [f"{self.documents:,} bad documents"] if self.documents else []
        told += [f"the rest of {self.files:,} damaged files"] if self.files else []
        return f"{' and '.join(told)} left out; the first: {self.first}" if told else ""


def write_result(
    work: WorkFolder,
    used: Mapping[str, Used],
    tokenizer: Tokenizer,
    amounts: Amounts,
    facts: Mapping[str, Any],
    versions: Mapping[str, str],
) -> LeftOut:
    """Fills `work.result`, meta.json last. Interrupted, it can be called again.

    What meta.json says depends on the corpus and the options only: no times, no paths, no number
    of processes. `facts` are the source's, `versions` those of libraries that matter.
    """
    work.result.mkdir(exist_ok=True)
    names = {task.path.name for parts in used.values() for task, _, _ in parts}
    for path in work.result.iterdir():
        if path.name not in names:
            path.unlink()  # of units that an earlier call took and this one does not
    splits: dict[str, SplitMeta] = {}
    skipped: dict[str, int] = {}
    truncated: dict[str, int] = {}
    first_skipped = ""
    digests: dict[str, str] = {}
    for split in SPLITS:
        parts = used[split]
        shards, kept, text_bytes, skipped[split], truncated[split] = [], 0, 0, 0, 0
        for task, record, stored in parts:
            whole = stored == record.stored
            content = record if whole else cut(task, record, stored)
            kept += content.kept
            text_bytes += content.text_bytes
            skipped[split] += content.skipped
            truncated[split] += content.truncated
            if content.skipped or content.truncated:
                first_skipped = first_skipped or record.first_skipped
            if not stored:
                continue  # no document in it
            target = work.result / task.path.name
            if whole:
                os.replace(work.tokens_of(task), target)
                digests[target.name] = record.sha256
            else:
                digests[target.name] = _copy_first(
                    work.tokens_of(task), target, stored * TOKEN_BYTES
                )
            shards.append((target.name, stored))
        splits[split] = SplitMeta(tuple(shards), kept, text_bytes)
    meta = Meta(
        layout=amounts.layout,
        row_tokens=amounts.row_tokens,
        tokenizer=tokenizer.name,
        tokenizer_sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        splits=splits,
    )
    if work.own_model.exists():
        content = work.own_model.read_bytes()
        write_atomically(work.result / work.own_model.name, content)
        digests[work.own_model.name] = hashlib.sha256(content).hexdigest()
    units = {
        split: [[task.unit.name, task.unit.size] for task, _, _ in used[split]] for split in SPLITS
    }
    source = {**facts, "units": units}
    told = {
        **meta.to_json(),
        **versions,
        "source": source,
        "skipped": skipped,
        "truncated_files": truncated,
        "sha256": digests,
    }
    write_atomically(work.result / META, (json.dumps(told, indent=2) + "\n").encode())
    return LeftOut(sum(skipped.values()), sum(truncated.values()), first_skipped)


def _copy_first(source: Path, target: Path, size: int) -> str:
    """Copies the first `size` bytes and returns their SHA-256."""
    temporary = target.with_name(f"{target.name}.tmp")
    with source.open("rb") as file, naming(temporary), temporary.open("wb") as copy:
        while size:
            chunk = file.read(min(size, _CHUNK))
            copy.write(chunk)
            size -= len(chunk)
        sync(copy)
    os.replace(temporary, target)
    return file_sha256(target)
