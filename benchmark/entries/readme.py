"""The README of an exported entry."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.entries.layout import FRAMEWORK_FIELD, RULESET_FIELD

_RUN = {
    "self_tuning": "--tuning_ruleset=self",
    "external_tuning": (
        "--tuning_ruleset=external \\\n"
        "  --tuning_search_space=submissions/{place}/tuning_search_space.json \\\n"
        "  --num_tuning_trials={trials}"
    ),
}


def readme(
    info: Mapping[str, str],
    framework: str,
    ruleset: str,
    source: str,
    hyperparameters: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
) -> str:
    """Markdown.

    Args:
      info: the entry's own fields of submission_info.yml.
      framework, ruleset: of `layout`.
      source: where the equations are published.
      hyperparameters: names and values, of self-tuning or where a point says nothing.
      points: of the search space; empty in self-tuning.
    """
    place = f"{ruleset}/{info['submission_folder']}"
    arguments = _RUN[ruleset].format(place=place, trials=len(points))
    return f"""# {info["submission_name"]}

{info["description"]}

An entry for the {RULESET_FIELD[ruleset]} ruleset of
[AlgoPerf: Training Algorithms](https://github.com/mlcommons/algorithmic-efficiency), in
{FRAMEWORK_FIELD[framework]}. Published: {source}. Authors: {info["authors"]} \
({info["affiliations"]}). Version {info["version"]}.

## What is here

* `submission.py`: AlgoPerf's functions. They work the same on every workload; only
  `get_batch_size` reads a workload's name.
* `common/`: the training step (loss, gradient, schedule on steps or on the clock, averaging for
  evaluations), `registry.py`: the hyperparameters.
* `matprec/`: the optimizer itself.

The folder was exported from the matprec repository with what this entry needs, and depends on
nothing there. `requirements.txt` lists the packages that AlgoPerf does not bring, and why.

## Run

With this folder at `submissions/{place}` below AlgoPerf's checkout:

```bash
pip install -r submissions/{place}/requirements.txt
python submission_runner.py \\
  --framework={framework} \\
  --workload=ogbg \\
  --submission_path=submissions/{place}/submission.py \\
  {arguments} \\
  --data_dir=DATA --experiment_dir=EXPERIMENTS --experiment_name=NAME
```

## Hyperparameters

{_table(hyperparameters, points)}
## Licence

Apache License 2.0, see `LICENSE`.
"""


def _table(values: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    """Of self-tuning one column, else a column for every point and the constants below."""
    if not points:
        return "None is exposed; all workloads are trained with these.\n\n" + _rows(
            ["hyperparameter", "value"],
            [[name, _shown(value)] for name, value in values.items()],
        )
    names = list(points[0])
    varied = _rows(
        ["hyperparameter", *(f"point {number}" for number in range(1, len(points) + 1))],
        [[name, *(_shown(point[name]) for point in points)] for name in names],
    )
    given = {*names, *(name.removeprefix("one_minus_") for name in names)}
    rest = [[name, _shown(value)] for name, value in values.items() if name not in given]
    constant = _rows(["hyperparameter", "value"], rest)
    return (
        f"`tuning_search_space.json` lists {len(points)} points:\n\n{varied}\n"
        f"The others, in all trials:\n\n{constant}"
    )


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
