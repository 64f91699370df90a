"""What a matrix came to: a table of submissions by workloads, and every failure with its cause."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.reference.matrix import Test
from benchmark.reference.results import Result
from benchmark.tables import Heading, print_rows


def print_summary(tests: Sequence[Test], folder: Path) -> list[Result]:
    """Prints the table, and returns the results that are no passes.

    A cell is what became of the one test of its submission, framework and workload: `ok` and its
    seconds, `FAILED`, `TIMEOUT`, or `-` where there is no result for the present sources and flags.
    """
    found = {(_row(test), test.workload): test.load(folder) for test in tests}
    workloads = list(dict.fromkeys(test.workload for test in tests))
    rows = []
    for row in sorted({_row(test) for test in tests}):
        results = [found.get((row, workload)) for workload in workloads]
        rows.append([*row, *map(_cell, results), _count(results)])
    totals = [_count([r for (_, w), r in found.items() if w == workload]) for workload in workloads]
    rows.append(["passed", "", *totals, _count(list(found.values()))])
    headings = [Heading("submission"), Heading("framework")]
    headings += [Heading(workload, True) for workload in workloads]
    print_rows([*headings, Heading("passed", True)], rows)
    bad = [result for result in found.values() if result and result.status != "passed"]
    for result in bad:
        where = f"{result.submission} {result.workload} {result.framework}"
        print(f"{result.status}: {where}: {result.cause}")
    missing = sum(result is None for result in found.values())
    if missing:
        print(f"{missing} of {len(found)} without a result for these sources and flags")
    return bad


def _row(test: Test) -> tuple[str, str]:
    return test.entry.name, test.entry.framework


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    return f"ok {result.seconds:.0f} s" if result.status == "passed" else result.status.upper()


def _count(results: Sequence[Result | None]) -> str:
    passed = sum(result is not None and result.status == "passed" for result in results)
    return f"{passed}/{len(results)}"
