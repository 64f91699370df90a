"""Write workloads_overrides/shapes/*.json: parameters of official workloads, from the harness.

Example: python scripts/param_shapes.py --harness_commit=2c90454f --workloads=ogbg,wmt

To be run with the interpreter of an environment that has AlgoPerf's harness.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import UserError, run_main
from workloads_overrides.shapes import FOLDER
from workloads_overrides.shapes.harness import WORKLOADS, write

FLAGS = flags.FLAGS

flags.DEFINE_list("workloads", list(WORKLOADS), f"Of {', '.join(WORKLOADS)}.")
flags.DEFINE_string("harness_commit", None, "The installed harness's commit.", required=True)
flags.DEFINE_string("output_dir", str(FOLDER), "Folder of the files.")


def main() -> int:
    from algoperf_api import HAS_ALGOPERF

    for name in FLAGS.workloads:
        if name not in WORKLOADS:
            allowed = ", ".join(WORKLOADS)
            raise UserError(f"--workloads: {name!r} is unknown; allowed: {allowed}")
    if not HAS_ALGOPERF:
        raise UserError(f"{sys.executable}: no algoperf is installed for it; use one that has it")
    folder = Path(FLAGS.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(FLAGS.workloads, start=1):
        print(f"{name} ({number} of {len(FLAGS.workloads)})", flush=True)
        print(f"  {write(name, folder, FLAGS.harness_commit)}", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
