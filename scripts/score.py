"""Score a tree of logs by time to target: print the table and write the report.

Example: python scripts/score.py --submission_directory=experiments/compare_jax
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typing import TYPE_CHECKING

from absl import flags

from benchmark.errors import INTERRUPTED, USER_ERROR, UserError, run_main

if TYPE_CHECKING:
    from benchmark.scoring import Scores

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
    "v0.5, v0.6 or 2026, AlgoPerf's versions, or a workload_targets.json; without it, the "
    "workloads and targets that the logs name.",
)
flags.DEFINE_enum(
    "mode",
    "fastest",
    ["fastest", "official"],
    "fastest: the written rules, a study's fastest trial counts and what is absent is infinite; "
    "official: AlgoPerf's script, the trial with the lowest row counts and absent studies are "
    "dropped.",
)
flags.DEFINE_enum(
    "integral",
    None,
    ["exact", "grid100"],
    "Of the performance profile: exact, or the script's 100 points; default: the mode's.",
)
flags.DEFINE_boolean(
    "self_tuning_ruleset",
    None,
    "Score by that ruleset: one trial per study, larger budgets; default: as the logs say.",
)
flags.DEFINE_integer(
    "num_studies",
    None,
    "Studies required, absent ones count as not reached; default: the version's, else as many as "
    "anyone has.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "num_trials", None, "Only the first so many trials of a study count.", lower_bound=1
)
flags.DEFINE_list("baselines", ["shampoo", "adamw"], "Submissions that times are compared to.")
flags.DEFINE_list("include_submissions", None, "Score these only.")
flags.DEFINE_list("exclude_submissions", None, "Leave these out.")
flags.DEFINE_enum("framework", None, ["jax", "pytorch"], "Score logs of this framework only.")
flags.DEFINE_boolean(
    "allow_mixed",
    False,
    "Score runs of different hardware, budgets or targets all the same, and mark the report.",
)
flags.DEFINE_boolean(
    "strict", False, "End with status 2 if anything was left out or is absent; it is told."
)
flags.DEFINE_float(
    "watch",
    None,
    "Score again every so many seconds while runs are going; Ctrl-C ends it and writes the report.",
    lower_bound=0.1,
)
flags.DEFINE_string(
    "output_dir", None, "Folder of the report, default: <submission_directory>/report."
)


def main() -> int:
    # Here, because pandas and matplotlib take a second that --help need not wait for.
    from benchmark.report import print_table, write_report

    if FLAGS.watch is None:
        scores = _score(progress=True)
    else:
        scores = _watch(FLAGS.watch)
        if scores is None:
            print("interrupted before there was anything to score", file=sys.stderr)
            return INTERRUPTED
    for warning in scores.warnings[:WARNINGS_SHOWN]:
        print(f"warning: {warning}", file=sys.stderr)
    if (more := len(scores.warnings) - WARNINGS_SHOWN) > 0:
        print(f"warning: {more} more, all of them in the report", file=sys.stderr)
    print_table(scores)
    output_dir = FLAGS.output_dir or Path(FLAGS.submission_directory) / "report"
    page = write_report(scores, output_dir, progress=True)[0]
    print(f"Report: {page}, with its plots, tables, scores.json and scores.csv beside it")
    if FLAGS.strict and scores.left_out:
        count = len(scores.left_out)
        told = "1 thing was" if count == 1 else f"{count} things were"
        print(f"error: --strict: {told} left out or absent, see the warnings", file=sys.stderr)
        return USER_ERROR
    return 0


def _score(progress: bool) -> "Scores":
    from benchmark.scoring import score_tree

    return score_tree(
        FLAGS.submission_directory,
        targets=FLAGS.workload_targets,
        mode=FLAGS.mode,
        integral=FLAGS.integral,
        self_tuning=FLAGS.self_tuning_ruleset,
        num_studies=FLAGS.num_studies,
        num_trials=FLAGS.num_trials,
        baselines=FLAGS.baselines,
        submissions=_submissions(),
        framework=FLAGS.framework,
        allow_mixed=FLAGS.allow_mixed,
        progress=progress,
    )


def _watch(every: float) -> "Scores | None":
    from rich.console import Console

    from benchmark.watch import watch

    return watch(lambda: _score(progress=False), every, Console())


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
