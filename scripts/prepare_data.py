"""Download and prepare the data of the small workloads, once; C4's is for prepare_c4.py.

Example: python scripts/prepare_data.py --workloads=ogbg_small --data_dir=data
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import UserError, run_main
from workloads_overrides import SMALL_WORKLOADS

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "workloads", list(SMALL_WORKLOADS), f"Comma-separated, of: {', '.join(SMALL_WORKLOADS)}."
)
flags.DEFINE_string("data_dir", "data", "Folder that gets a subfolder per data set.")


def main() -> int:
    from benchmark import progress
    from benchmark.run import prepare_data

    unknown = set(FLAGS.workloads) - set(SMALL_WORKLOADS)
    if unknown:
        allowed = ", ".join(SMALL_WORKLOADS)
        raise UserError(f"--workloads: unknown {sorted(unknown)}; allowed: {allowed}")
    with progress.reporter() as reporter:
        for name in FLAGS.workloads:
            prepare_data(name, FLAGS.data_dir, reporter)
            reporter.note(f"{name}: prepared in {Path(FLAGS.data_dir).expanduser()}")
    return 0


if __name__ == "__main__":
    run_main(main)
