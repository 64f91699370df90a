"""The numbers of a report as files for other programs: scores.json and scores.csv."""

import math
from typing import Any

from benchmark.scoring import Scores


def as_json(scores: Scores) -> dict[str, Any]:
    """Scores and per-workload values by submission. "inf": not reached; null: unknown."""
    return {
        "mode": "fastest",
        "integral": "exact",
        "num_studies": scores.num_studies,
        "scores": scores.scores,
        "targets": {
            name: {
                "target_metric_name": target.metric,
                "validation_target_value": target.value,
                "max_allowed_runtime_sec": _plain(target.budget),
            }
            for name, target in scores.targets.items()
        },
        "time_to_target_s": _nested(scores, "time_to_target"),
        "steps_to_target": _nested(scores, "steps_to_target"),
        "compile_time_s": _nested(scores, "compile_time"),
        "best_validation": _nested(scores, "best_validation"),
        "studies_reached": _nested(scores, "reached"),
        "time_ratios": {
            baseline: _nested(scores, f"ratio_to_{baseline}")
            for baseline in scores.baselines
            if baseline in scores.scores
        },
        "studies": [
            {
                "submission": row["submission"],
                "workload": row["workload"],
                "study": int(row["study"]),
                "time_to_target_s": _plain(row["time"]),
                "steps_to_target": _plain(row["steps"]),
            }
            for row in scores.studies.to_dict("records")
        ],
        "warnings": list(scores.warnings),
    }


def as_csv(scores: Scores) -> str:
    """`Scores.table`; infinite values are "inf", unknown ones empty."""
    return scores.table.to_csv(index=False, lineterminator="\n")


def _nested(scores: Scores, column: str) -> dict[str, dict[str, Any]]:
    wide = scores.by_workload(column)
    return {
        str(submission): {str(workload): _plain(value) for workload, value in row.items()}
        for submission, row in wide.iterrows()
    }


def _plain(value: Any) -> Any:
    """JSON knows neither infinity nor NaN."""
    if math.isnan(value):
        return None
    return "inf" if math.isinf(value) else float(value)
