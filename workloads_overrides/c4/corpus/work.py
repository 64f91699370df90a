"""The folder of a preparation that is not finished: its plan, its parts, its result so far.

`<data_dir>/.c4.partial/` has `plan.json`, what the parts are made for; `parts/`, see `part`; and,
when all parts are there, `result/`, which becomes `<data_dir>/c4` by one rename. What is found
there was made by an earlier call that was interrupted, and is used where it fits.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...base.files import file_sha256, sync_folder, write_atomically
from ...errors import DataError
from ..amounts import Amounts
from ..meta import META
from ..sources.unit import Unit
from .part import PartRecord, PartTask

PLAN = "plan.json"
OWN_MODEL = "tokenizer.model"


@dataclass(frozen=True)
class WorkFolder:
    """Paths of the work on one result. Other processes are kept out by the caller's lock."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / PLAN

    @property
    def parts(self) -> Path:
        return self.path / "parts"

    @property
    def result(self) -> Path:
        return self.path / "result"

    @property
    def own_model(self) -> Path:
        """The vocabulary, where it is trained here."""
        return self.path / OWN_MODEL

    @property
    def is_whole(self) -> bool:
        """Whether nothing but renaming the result is left to do."""
        return (self.result / META).exists()

    def open(self, plan: Mapping[str, Any], overwrite: bool) -> None:
        """Makes the folder, or goes on with one of the same plan.

        Begun with another plan, it is begun anew if `overwrite` or if nothing is finished there;
        otherwise DataError names what differs.
        """
        wanted = json.loads(json.dumps(plan))
        found = self._found_plan()
        if found not in (None, wanted) and self._has_anything and not overwrite:
            differing = "; ".join(
                f"{key} {found.get(key)!r}, not {wanted.get(key)!r}"
                for key in sorted(found.keys() | wanted.keys())
                if found and found.get(key) != wanted.get(key)
            )
            raise DataError(
                f"{self.path} was begun with {differing or 'a plan that cannot be read'}: go on "
                "with the same options, or begin anew with --overwrite"
            )
        if found != wanted:
            self.remove()
            self.parts.mkdir(parents=True)
            write_atomically(self.plan, (json.dumps(wanted, indent=1) + "\n").encode())
        self.parts.mkdir(exist_ok=True)

    def finish(self, folder: Path) -> None:
        """Makes the whole result `folder`, in the place of what is there, and removes the rest."""
        sync_folder(self.result)
        shutil.rmtree(self.parts)
        if folder.exists():
            _remove(self._old(folder))
            os.replace(folder, self._old(folder))
        os.replace(self.result, folder)
        sync_folder(folder.parent)
        self.clean_up(folder)

    def clean_up(self, folder: Path) -> None:
        """What is left to do when `folder` is there: an earlier call may not have come to it."""
        if not self.parts.exists():
            _remove(self._old(folder))
            self.remove()

    def task(
        self,
        index: int,
        unit: Unit,
        amounts: Amounts,
        tokenizer_sha256: str,
        skip_bad_lines: bool,
    ) -> PartTask:
        return PartTask(
            index=index,
            unit=unit,
            path=self.parts / f"{unit.split}_{index:05d}.bin",
            row_tokens=amounts.row_tokens,
            max_tokens=amounts.tokens(unit.split),
            tokenizer_sha256=tokenizer_sha256,
            skip_bad_lines=skip_bad_lines,
        )

    def find(self, task: PartTask) -> PartRecord | None:
        """The record of a part that is whole, undamaged and of this task; None: make it."""
        record = PartRecord.read(task.record)
        if record is None or record.identity != task.identity:
            return None
        if record.first_skipped and not task.skip_bad_lines:
            return None
        try:
            undamaged = (
                file_sha256(self.tokens_of(task)) == record.sha256
                and file_sha256(task.table) == record.table_sha256
            )
        except OSError:
            return None
        return record if undamaged else None

    def tokens_of(self, task: PartTask) -> Path:
        """Where the part's tokens are: an interrupted call may have put them into the result."""
        moved = self.result / task.path.name
        return task.path if task.path.exists() or not moved.exists() else moved

    def remove(self) -> None:
        _remove(self.path)

    @staticmethod
    def _old(folder: Path) -> Path:
        return folder.with_name(f".{folder.name}.old")

    @property
    def _has_anything(self) -> bool:
        return self.result.exists() or self.own_model.exists() or any(self.parts.glob("*.json"))

    def _found_plan(self) -> dict[str, Any] | None:
        """None if there is none; {} if it cannot be read."""
        try:
            plan = json.loads(self.plan.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return plan if isinstance(plan, dict) else {}


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
