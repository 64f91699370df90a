"""Starts AlgoPerf's `submission_runner`, unmodified, in this process: also under torchrun.

Run as a script with `submission_runner`'s own flags and two more; `scripts/run.py` writes the
command. Kept to what must happen in the harness's process: paths, registration, its main.
"""

import sys
from pathlib import Path

# Python puts this file's folder first, whose names are not meant to be imported from anywhere.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from absl import app, flags  # noqa: E402

from workloads_overrides import register  # noqa: E402
from workloads_overrides.budgets import RULE_SETS  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_enum("rules", None, RULE_SETS, "Rule set whose budgets the official workloads get.")
flags.DEFINE_string(
    "submission_root", None, "Folder that --submission_path is relative to; None: the repository."
)


def main() -> None:
    register()  # before the import, whose flags' help lists the workloads
    import submission_runner  # pyright: ignore[reportMissingImports]

    def run(argv: list[str]) -> None:
        if FLAGS.submission_root is not None:
            sys.path.insert(0, FLAGS.submission_root)
        if FLAGS.rules is not None:
            register(FLAGS.rules)
        if FLAGS.workload not in submission_runner.WORKLOADS:
            allowed = ", ".join(sorted(submission_runner.WORKLOADS))
            sys.exit(f"error: unknown workload {FLAGS.workload!r}; allowed: {allowed}")
        submission_runner.main(argv)

    app.run(run)


if __name__ == "__main__":
    main()
