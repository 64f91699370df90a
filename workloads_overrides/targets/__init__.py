"""Targets of AlgoPerf's official workloads: facts, with their source, in the file beside this.

They have not changed from version to version; budgets have, see `budgets`.
"""

import dataclasses
import json
from pathlib import Path

_FILE = Path(__file__).parent / "official.json"


@dataclasses.dataclass(frozen=True)
class OfficialTarget:
    """One workload's: `target_metric_name` without the split's prefix, the value that
    `validation/<metric>` must reach to count in scores, and that of `test/<metric>`, which the
    harness looks at besides (None: there is no test split)."""

    target_metric_name: str
    validation_target_value: float
    test_target_value: float | None


def load() -> dict[str, OfficialTarget]:
    """By workload."""
    content = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: OfficialTarget(**entry) for name, entry in content["workloads"].items()}
