"""Score a tree of logs by time to target: print the table and write the report.

Example: python scripts/score.py --submission_directory=experiments/compare_jax
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS
WARNINGS_SHOWN = 10

flags.DEFINE_string(
    "submission_directory",
    None,
    "Logs: <submission>/study_<i>/<workload>_<framework>/trial_<j>/eval_measurements.csv below it.",
    required=True,
)
flags.DEFINE_string(
    "workload_targets",
    None,
    "JSON file of workloads and targets; without it, those that the logs name.",
)
flags.DEFINE_integer(
    "num_studies",
    None,
    "Studies required, absent ones count as not reached; without it, as many as anyone has.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "num_trials", None, "Only the first so many trials of a study count.", lower_bound=1
)
flags.DEFINE_list("baselines", ["shampoo", "adamw"], "Submissions that times are compared to.")
flags.DEFINE_list("include_submissions", None, "Score these only.")
flags.DEFINE_list("exclude_submissions", None, "Leave these out.")
flags.DEFINE_enum("framework", None, ["jax", "pytorch"], "Score logs of this framework only.")
flags.DEFINE_string(
    "output_dir", None, "Folder of the report, default: <submission_directory>/report."
)


def main() -> int:
    # Here, because pandas and matplotlib take a second that --help need not wait for.
    from benchmark.report import print_table, write_report
    from benchmark.scoring import score_tree

    scores = score_tree(
        FLAGS.submission_directory,
        targets=FLAGS.workload_targets,
        num_studies=FLAGS.num_studies,
        num_trials=FLAGS.num_trials,
        baselines=FLAGS.baselines,
        submissions=_submissions(),
        framework=FLAGS.framework,
        progress=True,
    )
    for warning in scores.warnings[:WARNINGS_SHOWN]:
        print(f"warning: {warning}", file=sys.stderr)
    if (more := len(scores.warnings) - WARNINGS_SHOWN) > 0:
        print(f"warning: {more} more, all of them in the report", file=sys.stderr)
    print_table(scores)
    output_dir = FLAGS.output_dir or Path(FLAGS.submission_directory) / "report"
    page = write_report(scores, output_dir, progress=True)[0]
    print(f"Report: {page}, with its plots as PNG, scores.json and scores.csv beside it")
    return 0


def _submissions() -> list[str] | None:
    """The submissions to score by --include_submissions and --exclude_submissions, None = all."""
    from benchmark.scoring import submission_names

    excluded = FLAGS.exclude_submissions or []
    if not excluded:
        return FLAGS.include_submissions
    logged = submission_names(Path(FLAGS.submission_directory))
    if unknown := [name for name in excluded if name not in logged]:
        raise UserError(
            f"--exclude_submissions={','.join(unknown)}: no such logs; "
            f"there are {', '.join(logged)}"
        )
    kept = [name for name in FLAGS.include_submissions or logged if name not in excluded]
    if not kept:
        raise UserError("--exclude_submissions leaves no submission to score")
    return kept


if __name__ == "__main__":
    run_main(main)
