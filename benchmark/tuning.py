"""Tune any submission on a workload as target setting tunes the baselines, with the same effort.

Each submission gets as many points as a baseline got, drawn by the same seeded quasi-random
sequence over its own ranges, with the same training seed and the same number of steps, the
target-setting horizon. The point with the best validation value is its best; nothing of it enters
the workload's targets.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import search_space, submission, targets
from benchmark.errors import UserError, one_line
from benchmark.progress import Reporter
from benchmark.runs import Place
from benchmark.target_setting import Procedure, Setting


def ranges_of(name: str, root: Path) -> Path:
    """The ranges that the submission `name` is tuned over."""
    return root / "tuning_search_spaces" / "ranges" / f"{name}.json"


def tune(
    names: Sequence[str],
    setting: Setting,
    command: str,
    reporter: Reporter,
    place: Place,
) -> dict[str, dict[str, Any]]:
    """Runs the search of every submission.

    Returns:
        Per submission what is written down: the facts of the search, and every run under
        "search", best first.

    Raises:
        UserError: a bad value, a missing or wrong file of ranges.
        KeyboardInterrupt: after every child process has ended.
    """
    for name in names:
        if not ranges_of(name, place.root).is_file():
            known = sorted(path.stem for path in ranges_of("", place.root).parent.glob("?*.json"))
            raise UserError(f"{name!r} has no ranges to tune over; allowed: {', '.join(known)}")
        search_space.check_list(
            submission.search_space_of(name, place.root),
            search_space.load(ranges_of(name, place.root), 1)[0],
        )
    procedure = Procedure(setting, reporter, place)
    points = {
        name: search_space.load(ranges_of(name, place.root), setting.num_trials, setting.rng_seed)
        for name in names
    }
    return {
        name: {
            "procedure": one_line(__doc__ or ""),
            **procedure.facts(command),
            "tuning_search_space": str(ranges_of(name, Path())),
            "search": [run.record() for run in targets.ranked(runs)],
        }
        for name, runs in procedure.search(points).items()
    }
