"""Finds the trials of a log tree in AlgoPerf's layout and reads what they say of themselves.

`<root>/<submission>/study_<i>/<workload>_<jax|pytorch>/trial_<j>/` with `eval_measurements.csv`,
and where present `meta_data_<k>.json`, `flags_<k>.json`, `hparams.json` and (ours) `result.json`.
Every folder named otherwise (`interrupted_trial_...`, `report`) is ignored. What cannot be read
never stops the rest: it becomes a warning that names the file, and the row where there is one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workloads_overrides import canonical

# The names of a trial, as columns of every table that has one row per trial or evaluation.
KEYS = ["submission", "workload", "framework", "study", "trial"]

_STUDY = re.compile(r"study_(\d+)")
_WORKLOAD = re.compile(r"(.+)_(jax|pytorch)")
_TRIAL = re.compile(r"trial_(\d+)")


class TrialDir(NamedTuple):
    """Where one trial's logs lie; the order of the fields is the order of the tree. The workload is
    the one that its folder's name stands for, which may be an alias."""

    submission: str
    workload: str
    study: int
    trial: int
    framework: str
    path: Path

    @property
    def name(self) -> str:
        folder = f"{self.workload}_{self.framework}"
        return f"{self.submission}/study_{self.study}/{folder}/trial_{self.trial}"


@dataclass(frozen=True)
class Trial:
    """What is known of one trial beside its evaluations: its JSON files, {} where absent.

    Of several `meta_data_<k>` and `flags_<k>` (one per preemption) the last counts.
    """

    where: TrialDir
    meta: dict[str, Any]
    flags: dict[str, Any]
    hparams: dict[str, Any]
    result: dict[str, Any]


def find_trials(root: Path) -> list[TrialDir]:
    """All trial folders below `root`, sorted, whatever order the file system lists them in."""
    found = [
        TrialDir(
            submission.name,
            canonical(workload[1]),
            int(study[1]),
            int(trial[1]),
            workload[2],
            path,
        )
        for submission in root.iterdir()
        if submission.is_dir()
        for study, study_dir in _subfolders(submission, _STUDY)
        for workload, workload_dir in _subfolders(study_dir, _WORKLOAD)
        for trial, path in _subfolders(workload_dir, _TRIAL)
    ]
    return sorted(found)


def read_trial(where: TrialDir, root: Path, warnings: list[str]) -> Trial:
    """Reads the JSON files of one trial; appends what is wrong with them to `warnings`."""
    return Trial(
        where,
        meta=_read_last_json(where.path, "meta_data", root, warnings),
        flags=_read_last_json(where.path, "flags", root, warnings),
        hparams=_read_json(where.path / "hparams.json", root, warnings),
        result=_read_json(where.path / "result.json", root, warnings),
    )


def _subfolders(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], Path]]:
    for path in folder.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path.is_dir():
            yield match, path


def _read_last_json(folder: Path, stem: str, root: Path, warnings: list[str]) -> dict[str, Any]:
    numbered = {
        int(match[1]): path
        for path in folder.glob(f"{stem}_*.json")
        if (match := re.fullmatch(rf"{stem}_(\d+)\.json", path.name))
    }
    return _read_json(numbered[max(numbered)], root, warnings) if numbered else {}


def _read_json(path: Path, root: Path, warnings: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        warnings.append(f"{path.relative_to(root)}: cannot be read ({error}); ignored")
        return {}
    if not isinstance(content, dict):
        warnings.append(f"{path.relative_to(root)}: not a JSON object; ignored")
        return {}
    return content
