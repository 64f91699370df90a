"""The numbers of a report as files for other programs: scores.json and scores.csv."""

import math
from typing import Any

from benchmark.report.leaderboard import present_baselines
from benchmark.report.missed import missed
from benchmark.scoring import Scores


def as_json(scores: Scores) -> dict[str, Any]:
    """Scores and per-workload values by submission. "inf": not reached; null: unknown or no logs.

    A time ratio is t / t_baseline, a speed-up t_baseline / t.
    """
    baselines = present_baselines(scores)
    return {
        "mode": scores.mode,
        "integral": scores.integral,
        "pool": scores.pool,
        "mixed": list(scores.mixed),
        "num_studies": scores.num_studies,
        "scores": scores.scores,
        "other_scores": scores.other_scores,
        "targets": {
            name: {
                "target_metric_name": target.metric,
                "validation_target_value": target.value,
                "max_allowed_runtime_sec": _plain(target.budget),
            }
            for name, target in scores.targets.items()
        },
        "held_out": scores.variants,
        "time_to_target_s": _nested(scores, "time_to_target"),
        "time_min_s": _nested(scores, "time_min"),
        "time_max_s": _nested(scores, "time_max"),
        "steps_to_target": _nested(scores, "steps_to_target"),
        "compile_time_s": _nested(scores, "compile_time"),
        "best_validation": _nested(scores, "best_validation"),
        "studies_reached": _nested(scores, "reached"),
        "no_credit": _nested(scores, "no_credit"),
        "time_ratios": {name: _nested(scores, f"ratio_to_{name}") for name in baselines},
        "time_ratio_low": {name: _nested(scores, f"low_to_{name}") for name in baselines},
        "time_ratio_high": {name: _nested(scores, f"high_to_{name}") for name in baselines},
        "speedups": {name: _speedups(scores, name) for name in baselines},
        "missed": [
            {
                "submission": miss.submission,
                "workload": miss.workload,
                "why": miss.why,
                "studies_reached": miss.reached,
                "studies": miss.studies,
                "target": miss.target.value,
                "best_validation": _plain(miss.best),
                "margin": _plain(miss.margin),
                "median_study_margin": _plain(miss.typical_margin),
            }
            for miss in missed(scores)
        ],
        "differences": [
            {
                "submission": difference.submission,
                "workload": difference.workload,
                "time_to_target_s": {mode: _plain(time) for mode, time in difference.times.items()},
                "why": difference.why,
            }
            for difference in scores.differences
        ],
        "studies": [
            {
                "submission": row["submission"],
                "workload": row["workload"],
                "study": int(row["study"]),
                "trial": int(row["trial"]),
                "time_to_target_s": _plain(row["time"]),
                "steps_to_target": _plain(row["steps"]),
                "best_validation": _plain(row["best"]),
            }
            for row in scores.studies.to_dict("records")
        ],
        "left_out": list(scores.left_out),
        "warnings": list(scores.warnings),
    }


def as_csv(scores: Scores) -> str:
    """`Scores.table`; infinite values are "inf", unknown ones empty."""
    return scores.table.to_csv(index=False, lineterminator="\n")


def _nested(scores: Scores, column: str) -> dict[str, dict[str, Any]]:
    wide = scores.by_workload(column)
    return {
        str(submission): {str(workload): _plain(value) for workload, value in row.items()}
        for submission, row in wide.to_dict("index").items()
    }


def _speedups(scores: Scores, baseline: str) -> dict[str, dict[str, Any]]:
    rows = scores.speedups[scores.speedups["baseline"] == baseline]
    return {
        str(submission): {str(name): _plain(value) for name, value in row.items()}
        for submission, row in (
            rows.drop(columns="baseline").set_index("submission").to_dict("index").items()
        )
    }


def _plain(value: Any) -> Any:
    """JSON knows neither infinity nor NaN."""
    if isinstance(value, str | int):
        return value
    if math.isnan(value):
        return None
    return "inf" if math.isinf(value) else float(value)
