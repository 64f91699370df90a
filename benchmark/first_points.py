"""Which measured point goes first in a submission's list: the one that does best over workloads.

AlgoPerf gives a submission one list of points for all workloads, and a race with one trial takes
the first. A search on a workload leaves its record in `tuning_search_spaces/measured/<workload>`.
Over the points that every record of a submission has, a point's rank on a workload is its place by
best validation value; equal values share their mean place, and a point without a value shares the
last ones. The lowest mean rank over workloads wins; of equal ones that with the better worst rank,
then the earlier one in the first record. This project's own choice: it needs no common scale for
metrics as different as BLEU and a loss.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import search_space, submission
from benchmark.errors import UserError
from benchmark.log import read_json, write_json
from benchmark.scoring import Target

Record = Mapping[str, Any]


def record_path(workload: str, name: str, root: Path) -> Path:
    """Where the record of the search of submission `name` on `workload` stands."""
    return root / "tuning_search_spaces" / "measured" / workload / f"{name}.json"


def write_record(workload: str, name: str, record: Record, root: Path) -> None:
    path = record_path(workload, name, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def put_first(name: str, root: Path) -> dict[str, Any]:
    """Puts the best point over all records of submission `name` first in its list; returns it.

    Raises:
        UserError: no record, no point that all records have, or a list of other hyperparameters.
    """
    paths = sorted(record_path("*", name, root).parent.parent.glob(f"*/{name}.json"))
    if not paths:
        raise UserError(f"{name!r} has no record of a search; scripts/tune.py makes them")
    point = choose({path.parent.name: read_json(path) for path in paths})
    search_space.replace_first(submission.search_space_of(name, root), point)
    return point


def choose(records: Mapping[str, Record]) -> dict[str, Any]:
    """The best point over the records, by workload; see the module's docstring.

    Raises:
        UserError: there is no point that all records have.
    """
    values = pd.DataFrame({workload: _values(workload, records[workload]) for workload in records})
    # Outer join of the points: those that a record lacks are no candidates.
    tried = [set(_points(record)) for record in records.values()]
    common = [key for key in _points(next(iter(records.values()))) if all(key in t for t in tried)]
    if not common:
        raise UserError(f"no point was tried on all of {', '.join(records)}: tune them alike")
    ranks = values.loc[common].rank(ascending=False, na_option="bottom")
    order = pd.DataFrame({"mean": ranks.mean(axis=1), "worst": ranks.max(axis=1)})
    return json.loads(order.sort_values(["mean", "worst"], kind="stable").index[0])


def _points(record: Record) -> list[str]:
    """The hyperparameters of every run, as text that can be compared."""
    return [json.dumps(run["hyperparameters"]) for run in record["search"]]


def _values(workload: str, record: Record) -> pd.Series:
    """Best validation values by point, higher is better."""
    sign = Target(workload, record["metric"], 0.0).sign
    values = [run["best_validation"] for run in record["search"]]
    return sign * pd.Series(values, index=_points(record), dtype=float)
