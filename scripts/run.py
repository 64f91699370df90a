"""Train one submission on one workload, with AlgoPerf's loop, clock and log files.

Example: python scripts/run.py --workload=ogbg_small --framework=jax --submission_path=submissions/asgo/jax/submission.py --tuning_search_space=tuning_search_spaces/asgo.json --experiment_dir=experiments --experiment_name=first
"""  # noqa: E501

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark import cores
from benchmark.errors import GOES_ON, run_main
from benchmark.official import arguments, harness
from workloads_overrides.budgets import RULE_SETS

FLAGS = flags.FLAGS

flags.DEFINE_string("workload", None, "Name of the workload; --list_workloads shows them.")
flags.DEFINE_enum("framework", None, ["jax", "pytorch"], "The submission's framework.")
flags.DEFINE_string("submission_path", None, "The submission's .py file, below the repository.")
flags.DEFINE_string("experiment_dir", None, "Folder of all experiments.")
flags.DEFINE_string("experiment_name", None, "Folder of this one.")
flags.DEFINE_boolean(
    "list_workloads", False, "Only print every workload: parameters, targets, budgets."
)
flags.DEFINE_string("data_dir", "data", "Folder of the prepared data.")
flags.DEFINE_enum(
    "tuning_ruleset",
    "external",
    ["external", "self"],
    "external: hyperparameters from --tuning_search_space; self: none, and 1.5 times the budget.",
)
flags.DEFINE_string("tuning_search_space", None, "JSON file: a list of points, or ranges.")
flags.DEFINE_integer("num_tuning_trials", 1, "Points taken from the search space, one trial each.")
flags.DEFINE_integer("hparam_start_index", None, "First trial to run, counted from 0.")
flags.DEFINE_integer("hparam_end_index", None, "Trial to stop before, counted from 0.")
flags.DEFINE_integer("rng_seed", None, "Random seed; without it one is drawn, and logged.")
flags.DEFINE_integer("max_global_steps", None, "Stop after this many steps.")
flags.DEFINE_boolean("overwrite", False, "Remove what these trials' folders hold already.")
flags.DEFINE_integer(
    "eval_every_steps",
    None,
    "Evaluate after step 1 and every so many steps instead of by the clock; for tests of "
    "determinism and for target setting, not for timing.",
)
flags.DEFINE_boolean(
    "target_setting", False, "Never stop at a target or at the budget (needs --max_global_steps)."
)
flags.DEFINE_integer(
    "step_hint", None, "With --target_setting: schedule horizon instead of the workload's own."
)
flags.DEFINE_integer(
    "smoke_batch_size",
    None,
    "Global batch size, for training and evaluation, and rows of every evaluation split, of a C4 "
    "workload: to try it on a CPU with little data (needs --max_global_steps; not scored).",
)
flags.DEFINE_integer("cpu_core", None, "Keep to this core, with one thread.")
flags.DEFINE_enum(
    "progress",
    "bar",
    ["bar", "json", "none"],
    "bar (plain lines where the output is no terminal), json lines, or none.",
)
flags.DEFINE_boolean(
    "end_with_stdin", False, "End when standard input closes, as with the parent process."
)
flags.DEFINE_enum(
    "harness",
    "auto",
    harness.HARNESSES,
    "official: AlgoPerf's submission_runner, which also gets every flag not listed here; embedded: "
    "the runner of this repository, small workloads only; auto: official where it is installed.",
)
flags.DEFINE_enum(
    "rules", None, RULE_SETS, "Official harness: budgets of its workloads, and hardware to note."
)
flags.DEFINE_integer("num_gpus", None, "Official harness: GPUs to use; without it, all visible.")
flags.DEFINE_boolean("dry_run", False, "Official harness: only print its command.")

EMBEDDED_ONLY = (
    "eval_every_steps",
    "target_setting",
    "step_hint",
    "smoke_batch_size",
    "end_with_stdin",
)
REQUIRED = ("workload", "framework", "submission_path", "experiment_dir", "experiment_name")
for required in REQUIRED:
    flags.register_multi_flags_validator(
        [required, "list_workloads"],
        lambda values, name=required: values["list_workloads"] or values[name] is not None,
        f"Flag --{required} must have a value other than None.",
    )

OFFICIAL_ONLY = ("rules", "num_gpus", "dry_run")


def main(harness_args: list[str]) -> int:
    if FLAGS.list_workloads:
        return list_workloads()
    official = harness.is_official(
        FLAGS.harness,
        FLAGS.workload,
        embedded_only=[name for name in EMBEDDED_ONLY if FLAGS[name].present],
        official_only=[name for name in OFFICIAL_ONLY if FLAGS[name].present],
        dry_run=FLAGS.dry_run,
    )
    if not official and harness_args:
        FLAGS([sys.argv[0], *harness_args])  # the usual error for unknown flags
    if FLAGS.cpu_core is not None:
        cores.pin(FLAGS.cpu_core)
    if official:
        return run_official(harness_args)
    # Only now: what these import sizes its thread pools by the cores it finds.
    from benchmark import children, progress
    from benchmark.plan import Options
    from benchmark.run import run

    if FLAGS.end_with_stdin:
        children.end_with_stdin()
    names = [field.name for field in dataclasses.fields(Options)]
    options = Options(**{name: getattr(FLAGS, name) for name in names})
    with progress.reporter(FLAGS.progress) as reporter:
        results = run(options, reporter)
    failed = [result for result in results if result.reason == "error"]
    for result in failed:
        print(f"error: {result.message}", file=sys.stderr)
    return 1 if failed else 0


def list_workloads() -> int:
    from benchmark import listing, progress, tables

    with progress.reporter(FLAGS.progress) as reporter:
        rows = listing.rows(lambda name, done: reporter.update("workloads", done, name))
        reporter.end("workloads", f"{len(rows)} workloads")
    tables.print_rows(listing.headings(), map(listing.cells, rows))
    print(listing.NOTE)
    return 0


def run_official(harness_args: list[str]) -> int:
    from benchmark.hardware import visible_gpus
    from benchmark.official.command import Request
    from benchmark.official.run import run

    names = [field.name for field in dataclasses.fields(Request) if field.name in FLAGS]
    request = Request(
        **{name: getattr(FLAGS, name) for name in names},
        gpus=visible_gpus(),
        harness_args=harness_args,
    )
    return run(request, FLAGS.progress)


if __name__ == "__main__":
    own_argv, other_args = arguments.split(sys.argv)
    run_main(lambda: main(other_args), own_argv, on_interrupt=GOES_ON)
