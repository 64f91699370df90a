"""Runs without child processes."""

from collections.abc import Sequence

from benchmark.progress import Reporter
from benchmark.run import run
from benchmark.runs import Place, PlannedRun


def execute(
    runs: Sequence[PlannedRun], jobs: int, reporter: Reporter, place: Place
) -> dict[str, str]:
    """`benchmark.runs.execute`, in this process and one after the other."""
    failed = {}
    for planned in runs:
        if planned.finished:
            reporter.note(f"{planned.label}: finished before and kept")
            continue
        result = run(planned.options, reporter, place.root)[0]
        if result.reason == "error":
            failed[planned.label] = result.message
    return failed
