"""Race submissions to the targets of workloads, then score them and write the report.

Example: python scripts/compare.py --submissions=asgo,shampoo --workloads=ogbg_small --framework=jax --num_studies=1 --experiment_dir=experiments --experiment_name=first
"""  # noqa: E501

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import GOES_ON, run_main

FLAGS = flags.FLAGS

flags.DEFINE_list("submissions", None, "Names, separated by commas, or all.", required=True)
flags.DEFINE_list("workloads", None, "Names, separated by commas.", required=True)
flags.DEFINE_enum(
    "framework", None, ["jax", "pytorch"], "The submissions' framework.", required=True
)
flags.DEFINE_string("experiment_dir", None, "Folder of all experiments.", required=True)
flags.DEFINE_string("experiment_name", None, "Folder of this one.", required=True)
flags.DEFINE_string("data_dir", "data", "Folder of the prepared data.")
flags.DEFINE_enum(
    "tuning_ruleset",
    "external",
    ["external", "self"],
    "external: hyperparameters from tuning_search_spaces; self: none, and 1.5 times the budget.",
)
flags.DEFINE_integer("num_studies", 1, "Independent repetitions.")
flags.DEFINE_integer("num_tuning_trials", 1, "Points of each search space, one trial each.")
flags.DEFINE_integer("rng_seed", 0, "Random seed of study 0; study i has this plus i.")
flags.DEFINE_integer("max_global_steps", None, "Stop every run after this many steps.")
flags.DEFINE_integer(
    "eval_every_steps",
    None,
    "Evaluate after step 1 and every so many steps instead of by the clock; for tests of "
    "determinism, not for timing.",
)
flags.DEFINE_boolean("overwrite", False, "Run again what is finished; its logs are removed.")
flags.DEFINE_integer(
    "jobs",
    2,
    "Runs side by side, each on a core of its own; full-size ones on GPUs: one at a time.",
)


def main() -> int:
    from benchmark import compare, progress, runs
    from benchmark.report import print_table, write_report
    from benchmark.scoring import score_tree

    names = [field.name for field in dataclasses.fields(compare.Comparison)]
    values = {name: getattr(FLAGS, name) for name in names}
    values |= {name: tuple(values[name]) for name in ("submissions", "workloads")}
    comparison = compare.Comparison(**values)
    place = runs.Place()
    planned = compare.plan_comparison(comparison, place)
    print(f"{len(planned)} runs, logs in {comparison.path}", flush=True)
    with progress.reporter() as reporter:
        failed = runs.execute(planned, comparison.jobs, reporter, place)
    for label, told in failed.items():
        print(f"error: {label} failed: {told}", file=sys.stderr)
    for run in (absent := compare.without_logs(planned)):
        print(f"warning: {run.label} has left no logs and is not scored", file=sys.stderr)
    if len(absent) == len(planned):
        return 1
    submissions, workloads = compare.scored_names(planned)
    scores = score_tree(
        comparison.path,
        num_studies=comparison.num_studies,
        num_trials=comparison.num_tuning_trials,
        baselines=("shampoo", "adamw"),
        submissions=submissions,
        workloads=workloads,
        framework=comparison.framework,
    )
    for warning in scores.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print_table(scores)
    page = write_report(scores, comparison.path / "report", progress=True)[0]
    print(f"Report: {page}, with its plots, tables, scores.json and scores.csv beside it")
    return 1 if failed or absent else 0


if __name__ == "__main__":
    run_main(main, on_interrupt=GOES_ON)
