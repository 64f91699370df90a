"""Tune submissions on a workload as its targets were set; put the best points over all workloads first in their lists.

Example: python scripts/tune.py --submissions=asgo,shampoo --workload=ogbg_small --num_trials=10
"""  # noqa: E501

import dataclasses
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import GOES_ON, run_main

FLAGS = flags.FLAGS

flags.DEFINE_list("submissions", None, "Names of the submissions to tune.", required=True)
flags.DEFINE_string("workload", None, "Name of the workload, such as ogbg_small.", required=True)
flags.DEFINE_enum("framework", "jax", ["jax", "pytorch"], "Framework of the runs.")
flags.DEFINE_string("experiment_dir", "experiments", "Folder of all experiments.")
flags.DEFINE_string("experiment_name", "tune", "Folder of this one.")
flags.DEFINE_string("data_dir", "data", "Folder of the prepared data.")
flags.DEFINE_integer("num_trials", 10, "Points of the search, for each submission.")
flags.DEFINE_integer(
    "step_hint", None, "Schedule horizon of the workload; without it, the one that it has."
)
flags.DEFINE_integer(
    "eval_every_steps",
    None,
    "Steps between evaluations; default: a hundredth of the horizon, but 20 at least.",
)
flags.DEFINE_integer("rng_seed", 0, "Seed of the search and of the training.")
flags.DEFINE_boolean("overwrite", False, "Run again what is finished.")
flags.DEFINE_integer(
    "jobs",
    2,
    "Runs side by side, each on a core of its own; full-size ones on GPUs: one at a time.",
)


def main() -> int:
    from benchmark import first_points, progress, runs, target_setting, tuning

    names = {field.name for field in dataclasses.fields(target_setting.Setting)}
    names &= set(FLAGS)
    setting = target_setting.Setting(**{name: getattr(FLAGS, name) for name in names})
    command = shlex.join(["python", "scripts/tune.py", *sys.argv[1:]])
    place = runs.Place()
    with progress.reporter() as reporter:
        found = tuning.tune(FLAGS.submissions, setting, command, reporter, place)
    for name, record in found.items():
        first_points.write_record(FLAGS.workload, name, record, place.root)
        best = record["search"][0]
        print(f"{name}: {best['best_validation']:.4f} with {best['hyperparameters']}")
        print(f"{name}: first in its list now {first_points.put_first(name, place.root)}")
    return 0


if __name__ == "__main__":
    run_main(main, on_interrupt=GOES_ON)
