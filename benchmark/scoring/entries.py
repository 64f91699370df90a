"""One row per entry, that is (submission, workload): what its studies come to."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.scoring.targets import Target
from benchmark.scoring.time_to_target import Mode, counted, median

ENTRY = ["submission", "workload"]
Entry = tuple[str, str]


def entries(
    names: Sequence[str],
    targets: Mapping[str, Target],
    studies: pd.DataFrame,
    required: int,
    mode: Mode,
) -> tuple[pd.DataFrame, dict[Entry, list[float]]]:
    """The rows, submissions in the order given, and by entry the studies' times that count."""
    by_entry: dict[Any, pd.DataFrame] = dict(iter(studies.groupby(ENTRY)))
    none = studies.head(0)
    ranked = studies.sort_values("margin", ascending=False, kind="stable").drop_duplicates(ENTRY)
    pairs = zip(ranked["submission"], ranked["workload"], strict=True)
    closest = dict(zip(pairs, zip(ranked["best"], ranked["margin"], strict=True), strict=True))
    rows: list[dict[str, Any]] = []
    times: dict[Entry, list[float]] = {}
    for name in names:
        for workload, target in targets.items():
            entry = by_entry.get((name, workload), none)
            counts = counted(entry, "time", required, mode)
            times[name, workload] = counts
            best, margin = closest.get((name, workload), (math.nan, math.nan))
            rows.append(
                {
                    "submission": name,
                    "workload": workload,
                    "framework": "".join(sorted(set(entry["framework"]))),
                    "reached": sum(time < math.inf for time in counts),
                    "studies": len(counts) if mode == "official" else required,
                    "steps_to_target": median(counted(entry, "steps", required, mode)),
                    "time_to_target": median(counts),
                    "time_min": min(counts, default=math.nan),
                    "time_max": max(counts, default=math.nan),
                    "compile_time": entry["compile_time"].median(),
                    "best_validation": best,
                    "margin": margin,
                    "target": target.value,
                }
            )
    return pd.DataFrame(rows), times
