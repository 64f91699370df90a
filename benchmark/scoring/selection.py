"""Which trials of a log tree are scored."""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from benchmark.errors import UserError
from benchmark.scoring.logs import TrialDir, find_trials

LAYOUT = "<submission>/study_<i>/<workload>_<jax|pytorch>/trial_<j>"


def submission_names(root: Path) -> list[str]:
    """The submissions that have logs below `root`, sorted. Raises UserError if there are none."""
    return sorted({folder.submission for folder in _all_trials(root)})


def select_trials(
    root: Path,
    submissions: Sequence[str] | None,
    workloads: Sequence[str] | None,
    framework: str | None,
) -> list[TrialDir]:
    """The trials of the named submissions, workloads and framework (None = all).

    Raises UserError if nothing is left, a name has no logs, an entry has logs of both frameworks,
    or one trial has two folders, of a workload's name and of its alias.
    """
    folders = _all_trials(root)
    folders = _keep(folders, "submission", submissions, root)
    folders = _keep(folders, "workload", workloads, root)
    folders = _keep(folders, "framework", [framework] if framework else None, root)
    for (submission, workload), entry in groupby(folders, lambda f: (f.submission, f.workload)):
        if len(frameworks := sorted({folder.framework for folder in entry})) > 1:
            raise UserError(
                f"{root}: {submission} has logs of {' and '.join(frameworks)} for {workload}; "
                "score one framework at a time (--framework)"
            )
    for first, second in pairwise(folders):
        if first[:-1] == second[:-1]:
            raise UserError(
                f"{first.path} and {second.path} are logs of one trial: they differ in the "
                "workload's name only, and one is the other's alias; remove one"
            )
    return folders


def most_studies(folders: Iterable[TrialDir]) -> int:
    """The number of studies of the (submission, workload) that has the most."""
    studies: dict[tuple[str, str], set[int]] = {}
    for folder in folders:
        studies.setdefault((folder.submission, folder.workload), set()).add(folder.study)
    return max(len(numbers) for numbers in studies.values())


def first_studies(
    folders: Iterable[TrialDir], num_studies: int, num_trials: int | None, warnings: list[str]
) -> list[TrialDir]:
    """The first `num_studies` studies of each entry and the first `num_trials` trials of each."""
    kept = []
    for (submission, workload), entry in groupby(folders, lambda f: (f.submission, f.workload)):
        studies = [list(study) for _, study in groupby(entry, lambda f: f.study)]
        if len(studies) > num_studies:
            warnings.append(
                f"{submission}, {workload}: of {len(studies)} studies only the first "
                f"{num_studies} count"
            )
        elif len(studies) < num_studies:
            warnings.append(
                f"{submission}, {workload}: {len(studies)} of {num_studies} studies; "
                "absent ones count as not reached"
            )
        kept += [folder for study in studies[:num_studies] for folder in study[:num_trials]]
    return kept


def _all_trials(root: Path) -> list[TrialDir]:
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    folders = find_trials(root)
    if not folders:
        nested = [
            child for child in sorted(root.iterdir()) if child.is_dir() and find_trials(child)
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
