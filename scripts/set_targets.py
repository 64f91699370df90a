"""Measure a workload's targets and budget with tuned baselines, and write its targets.json.

Example: python scripts/set_targets.py --workload=ogbg_small --step_hint=1000 --num_trials=10 --num_seeds=5
"""  # noqa: E501

import dataclasses
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import GOES_ON, UserError, run_main

FLAGS = flags.FLAGS

flags.DEFINE_string("workload", None, "Name of the workload, such as ogbg_small.", required=True)
flags.DEFINE_enum("framework", "jax", ["jax", "pytorch"], "Framework of the runs.")
flags.DEFINE_string("experiment_dir", "experiments", "Folder of all experiments.")
flags.DEFINE_string("experiment_name", "set_targets", "Folder of this one.")
flags.DEFINE_string("data_dir", "data", "Folder of the prepared data.")
flags.DEFINE_string(
    "tuning_search_space",
    None,
    "JSON file of the ranges that the baselines are tuned over, "
    "default: benchmark/target_setting_space.json.",
)
flags.DEFINE_integer("num_trials", 10, "Points of the search, for each baseline.")
flags.DEFINE_integer("num_seeds", 5, "Repetitions of the best point.")
flags.DEFINE_integer(
    "step_hint", None, "Schedule horizon of the workload, in steps; default: the one that it has."
)
flags.DEFINE_integer(
    "eval_every_steps",
    None,
    "Resolution of steps to target; default: a hundredth of the horizon, but 20 at least.",
)
flags.DEFINE_integer("rng_seed", 0, "Seed of the search; repetitions have the next ones.")
flags.DEFINE_boolean("overwrite", False, "Run again what is finished.")
flags.DEFINE_integer(
    "jobs",
    2,
    "Runs side by side, each on a core of its own; full-size ones on GPUs: one at a time.",
)
flags.DEFINE_integer(
    "smoke_batch_size",
    None,
    "As in scripts/run.py, to see the procedure run; the outcome is marked, and needs --output.",
)
flags.DEFINE_string("output", None, "File to write; without it, the workload's own.")
flags.DEFINE_boolean(
    "write_search_spaces",
    False,
    "Also write each baseline's search to tuning_search_spaces/measured/<workload>, and put its "
    "best point over all measured workloads first in tuning_search_spaces/<baseline>.json.",
)


def main() -> int:
    from benchmark import (
        first_points,
        progress,
        runs,
        search_space,
        submission,
        target_setting,
    )
    from benchmark.log import write_json

    if FLAGS.smoke_batch_size is not None and FLAGS.output is None:
        raise UserError("--smoke_batch_size measures no targets of the workload: give --output")
    names = [field.name for field in dataclasses.fields(target_setting.Setting)]
    setting = target_setting.Setting(**{name: getattr(FLAGS, name) for name in names})
    place = runs.Place()
    command = shlex.join(["python", "scripts/set_targets.py", *sys.argv[1:]])
    if FLAGS.write_search_spaces:
        points = search_space.load(setting.space, 1)
        for name in target_setting.BASELINES:
            search_space.check_list(submission.search_space_of(name, place.root), points[0])
    with progress.reporter() as reporter:
        outcome = target_setting.set_targets(setting, command, reporter, place)
    output = Path(FLAGS.output or target_setting.targets_file(FLAGS.workload, FLAGS.framework))
    write_json(output, outcome.content)
    for name, value in outcome.content.items():
        if name != "provenance":
            print(f"{name}: {value}")
    for name, race in outcome.content["provenance"]["steps_to_target"].items():
        print(f"{name}: reached {race['reached']}, {race['steps_to_validation_target']}")
    print(output)
    if FLAGS.write_search_spaces:
        for name, record in outcome.searches.items():
            first_points.write_record(FLAGS.workload, name, record, place.root)
            first_points.put_first(name, place.root)
            print(submission.search_space_of(name, place.root))
    return 0


if __name__ == "__main__":
    run_main(main, on_interrupt=GOES_ON)
