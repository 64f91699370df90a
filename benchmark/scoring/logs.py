"""Finds the trials of a log tree in AlgoPerf's layout and reads what they say of themselves.

`<root>/<submission>/study_<i>/<workload>_<jax|pytorch>/trial_<j>/` with `eval_measurements.csv`,
and where present `meta_data_<k>.json`, `flags_<k>.json`, `hparams.json` and (ours) `result.json`.
Folders named otherwise (`interrupted_trial_...`, `report`) are ignored. What cannot be read never
stops the rest: it becomes a finding that names the file, and the row where there is one.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.scoring.findings import Findings
from workloads_overrides import canonical

# The names of a trial, as columns of every table that has one row per trial or evaluation.
KEYS = ["submission", "workload", "framework", "study", "trial"]

FILE = "eval_measurements.csv"

# Nobody has numbers of more digits, and they would not fit into a column of integers.
_STUDY = re.compile(r"study_(\d{1,9})", re.ASCII)
_WORKLOAD = re.compile(r"(.+)_(jax|pytorch)", re.DOTALL)
_TRIAL = re.compile(r"trial_(\d{1,9})", re.ASCII)
_EXPECTED = {_STUDY: "study_<i>", _WORKLOAD: "<workload>_<jax|pytorch>", _TRIAL: "trial_<j>"}
_NUMBERED = re.compile(r"(meta_data|flags)_(\d{1,9})\.json", re.ASCII)


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


def find_trials(root: Path, findings: Findings) -> list[TrialDir]:
    """All trial folders below `root`, sorted, whatever order the file system lists them in."""
    found: list[TrialDir] = []
    for submission in _folders(root, None, findings):
        found += [
            TrialDir(
                submission.name,
                canonical(_parts(workload, _WORKLOAD)[0]),
                int(_parts(study, _STUDY)[0]),
                int(_parts(trial, _TRIAL)[0]),
                _parts(workload, _WORKLOAD)[1],
                trial,
            )
            for study in _folders(submission, _STUDY, findings)
            for workload in _folders(study, _WORKLOAD, findings)
            for trial in _folders(workload, _TRIAL, findings)
        ]
    return _without_copies(sorted(found), root, findings)


def read_trial(where: TrialDir, root: Path, findings: Findings) -> Trial:
    """Reads the JSON files of one trial; tells what is wrong with them."""
    try:
        names = os.listdir(where.path)
    except OSError as error:
        findings.leave_out(f"{where.path.relative_to(root)}: {error.strerror}; not listed")
        names = []
    last: dict[str, tuple[int, str]] = {}
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            stem, number = match[1], int(match[2])
            last[stem] = max(last.get(stem, (-1, "")), (number, name))

    def read(name: str) -> dict[str, Any]:
        return _read_json(where.path / name, root, findings) if name in names else {}

    return Trial(
        where,
        meta=read(last.get("meta_data", (-1, ""))[1]),
        flags=read(last.get("flags", (-1, ""))[1]),
        hparams=read("hparams.json"),
        result=read("result.json"),
    )


def _parts(path: Path, pattern: re.Pattern[str]) -> tuple[str, ...]:
    match = pattern.fullmatch(path.name)
    assert match, path
    return match.groups()


def _folders(folder: Path, pattern: re.Pattern[str] | None, findings: Findings) -> list[Path]:
    """The folders in `folder` with such a name, sorted, and told what else looks like one."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        findings.leave_out(f"{folder}: {error.strerror}; ignored")
        return []
    problems = {path: _problem(path, pattern) for path in paths}
    for path, problem in problems.items():
        if problem:
            findings.leave_out(f"{path}: {problem}; ignored")
    # A folder without studies is no submission: a report lies in such a one.
    empty = all(problem == "" for problem in problems.values())
    if empty and pattern is not None and pattern is not _STUDY:
        findings.leave_out(f"{folder}: no {_EXPECTED[pattern]} in it")
    return [path for path, problem in problems.items() if problem is None]


def _problem(path: Path, pattern: re.Pattern[str] | None) -> str | None:
    """Why not to go into `path`: None if there is no reason, "" if it is none of our business."""
    named = pattern is None or pattern.fullmatch(path.name) is not None
    try:
        if path.is_symlink() and (loop := _loop(path)):
            return loop
        if not path.is_dir():
            return "not a folder" if named and pattern else ""
    except OSError as error:
        return str(error.strerror)
    if not path.name.isprintable() and _is_no_text(path.name):
        return "its name is no text"
    looks_like = pattern is _WORKLOAD or path.name.startswith(("study_", "trial_"))
    return None if named else f"not {_EXPECTED[pattern]}" if pattern and looks_like else ""


def _loop(link: Path) -> str:
    """What is wrong with a link, if anything: links are followed, but never back up the tree."""
    try:
        target = link.resolve()
    except (OSError, RuntimeError):
        return "a symlink loop"
    above = link.parent.resolve()
    if target in [above, *above.parents]:
        return "a symlink loop"
    return "" if target.exists() else "a link to nowhere"


def _is_no_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def _without_copies(found: list[TrialDir], root: Path, findings: Findings) -> list[TrialDir]:
    """Links may make one run two trials of a submission: the first counts. (One run may well be
    part of two submissions: so is a pool put together without copying logs.)"""
    seen: dict[tuple[str, int, int], TrialDir] = {}
    kept = []
    for where in found:
        identity = _identity(where.path)
        first = seen.setdefault((where.submission, *identity), where) if identity else where
        # Tools that save space make hard links of equal files: two paths, and two runs.
        if first is where or _file(first).resolve() != _file(where).resolve():
            kept.append(where)
        else:
            same = "folder" if first.path.resolve() == where.path.resolve() else "file"
            findings.leave_out(
                f"{where.path.relative_to(root)}: the same {same} as "
                f"{first.path.relative_to(root)}, by a link; counted once"
            )
    return kept


def _file(where: TrialDir) -> Path:
    return where.path / FILE


def _identity(trial: Path) -> tuple[int, int] | None:
    """Of its evaluations on the disk, or of the folder where there are none; None if it has gone
    in the meantime."""
    for path in (trial / FILE, trial):
        try:
            status = path.stat()
        except OSError:
            continue
        return status.st_dev, status.st_ino
    return None


def _read_json(path: Path, root: Path, findings: Findings) -> dict[str, Any]:
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            raise ValueError("not a file")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        findings.leave_out(f"{path.relative_to(root)}: cannot be read ({error}); ignored")
        return {}
    if not isinstance(content, dict):
        findings.leave_out(f"{path.relative_to(root)}: not a JSON object; ignored")
        return {}
    return content
