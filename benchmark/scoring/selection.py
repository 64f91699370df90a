"""Which trials of a log tree are scored."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from benchmark.errors import UserError
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import Trial, TrialDir, find_trials

LAYOUT = "<submission>/study_<i>/<workload>_<jax|pytorch>/trial_<j>"


def submission_names(root: Path) -> list[str]:
    """The submissions that have logs below `root`, sorted. Raises UserError if there are none."""
    return sorted({folder.submission for folder in _all_trials(root, Findings())})


def select_trials(
    root: Path,
    submissions: Sequence[str] | None,
    workloads: Sequence[str] | None,
    framework: str | None,
    findings: Findings,
) -> list[TrialDir]:
    """The trials of the named submissions, workloads and framework (None = all).

    An entry with logs of both frameworks is left out, as it cannot be said which of them counts.
    Raises UserError if nothing is left, a name has no logs, or one trial has two folders, of a
    workload's name and of its alias.
    """
    folders = _all_trials(root, findings)
    folders = _keep(folders, "submission", submissions, root)
    folders = _keep(folders, "workload", workloads, root)
    folders = _keep(folders, "framework", [framework] if framework else None, root)
    kept: list[TrialDir] = []
    # Folders are sorted by study before framework.
    entries = sorted(folders, key=lambda f: (f.submission, f.workload))
    for (submission, workload), grouped in groupby(entries, lambda f: (f.submission, f.workload)):
        entry = list(grouped)
        if len(frameworks := sorted({folder.framework for folder in entry})) > 1:
            findings.leave_out(
                f"{submission} has logs of {' and '.join(frameworks)} for {workload}, as in "
                f"{entry[0].path.relative_to(root)}; all of them are left out: "
                "score one framework at a time (--framework)"
            )
        else:
            kept += entry
    kept = _without_twins(kept, root, findings)
    if not kept:
        why = "; ".join(findings.left_out) or "no submission, workload or framework is asked for"
        raise UserError(f"{root}: nothing to score: {why}")
    return kept


def _without_twins(folders: Sequence[TrialDir], root: Path, findings: Findings) -> list[TrialDir]:
    """Of folders whose names differ, but not in the numbers that they stand for, the first one."""
    kept: list[TrialDir] = []
    for folder in folders:
        if not kept or kept[-1][:-1] != folder[:-1]:
            kept.append(folder)
        elif kept[-1].path.parent.name != folder.path.parent.name:
            raise UserError(
                f"{kept[-1].path} and {folder.path} are logs of one trial: they differ in the "
                "workload's name only, and one is the other's alias; remove one"
            )
        else:
            findings.leave_out(
                f"{folder.path.relative_to(root)}: the same numbers as "
                f"{kept[-1].path.relative_to(root)}; ignored"
            )
    return kept


def most_studies(folders: Iterable[TrialDir]) -> int:
    """The number of studies of the (submission, workload) that has the most."""
    studies: dict[tuple[str, str], set[int]] = {}
    for folder in folders:
        studies.setdefault((folder.submission, folder.workload), set()).add(folder.study)
    return max(len(numbers) for numbers in studies.values())


def first_studies(
    folders: Iterable[TrialDir],
    num_studies: int | None,
    num_trials: int | None,
    findings: Findings,
) -> list[TrialDir]:
    """The first `num_studies` studies of each entry and the first `num_trials` trials of each;
    None: all of them."""
    kept = []
    for (submission, workload), entry in groupby(folders, lambda f: (f.submission, f.workload)):
        studies = [list(study) for _, study in groupby(entry, lambda f: f.study)]
        if num_studies and len(studies) > num_studies:
            findings.leave_out(
                f"{submission}, {workload}: of {len(studies)} studies only the first "
                f"{num_studies} count"
            )
        for study in studies[:num_studies]:
            if num_trials and len(study) > num_trials:
                findings.leave_out(
                    f"{submission}, {workload}: of {len(study)} trials in study_{study[0].study} "
                    f"only the first {num_trials} count"
                )
            kept += study[:num_trials]
    return kept


def only_trial_1(folders: Iterable[TrialDir], findings: Findings) -> list[TrialDir]:
    """What self-tuning has."""
    kept = []
    for (submission, workload), grouped in groupby(folders, lambda f: (f.submission, f.workload)):
        entry = list(grouped)
        kept += [folder for folder in entry if folder.trial == 1]
        if others := [folder for folder in entry if folder.trial != 1]:
            findings.leave_out(
                f"{submission}, {workload}: study_{others[0].study} has trial_{others[0].trial}, "
                "but in self-tuning there is trial_1 alone; others are left out"
            )
    return kept


def tell_of_absent(
    folders: Iterable[TrialDir],
    entries: Iterable[tuple[str, str]],
    num_studies: int,
    num_trials: int | None,
    consequence: str,
    findings: Findings,
) -> None:
    """Tells which of the entries, (submission, workload), have fewer studies, or fewer trials in a
    study, than required."""
    trials: dict[tuple[str, str], Counter[int]] = {}
    for folder in folders:
        trials.setdefault((folder.submission, folder.workload), Counter())[folder.study] += 1
    for submission, workload in entries:
        found = trials.get((submission, workload), Counter())
        if not found:
            findings.leave_out(f"{submission}, {workload}: no logs; counts as not reached")
        elif len(found) < num_studies:
            findings.leave_out(
                f"{submission}, {workload}: {len(found)} of {num_studies} studies; {consequence}"
            )
        if num_trials and (short := [study for study in found if found[study] < num_trials]):
            listed = ", ".join(f"{found[study]} in study_{study}" for study in short)
            findings.leave_out(
                f"{submission}, {workload}: fewer than {num_trials} trials: {listed}; "
                "absent ones count as not reached"
            )


def without_smoke(trials: Sequence[Trial], root: Path, findings: Findings) -> list[Trial]:
    """The trials at their workload's own batch sizes and splits."""
    kept = []
    for trial in trials:
        size = trial.flags.get("smoke_batch_size")
        if size is None:
            kept.append(trial)
        else:
            findings.leave_out(f"{trial.where.name}: made with --smoke_batch_size={size}, left out")
    if not kept:
        raise UserError(f"{root}: all runs were made with --smoke_batch_size: nothing to score")
    return kept


def _all_trials(root: Path, findings: Findings) -> list[TrialDir]:
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    folders = find_trials(root, findings)
    if not folders:
        nested = [
            child
            for child in sorted(root.iterdir())
            if child.is_dir() and find_trials(child, Findings())
        ]
        hint = f"; did you mean {' or '.join(map(str, nested))}?" if nested else ""
        raise UserError(f"{root}: no logs found, expected {root / LAYOUT}{hint}")
    return folders


def _keep(
    folders: list[TrialDir], field: str, names: Sequence[str] | None, root: Path
) -> list[TrialDir]:
    if names is None:
        return folders
    present = sorted({getattr(folder, field) for folder in folders})
    if unknown := [name for name in names if name not in present]:
        raise UserError(
            f"{root}: no logs of {field} {', '.join(unknown)}; there are {', '.join(present)}"
        )
    return [folder for folder in folders if getattr(folder, field) in names]
