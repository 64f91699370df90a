"""Print where the data of the small workloads comes from: wheel, licence, what is taken from it.

Example: python scripts/data_sources.py --workloads=wmt_small,c4_small
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS

flags.DEFINE_list("workloads", None, "Only the sources of these, separated by commas.")


def main() -> int:
    from workloads_overrides.small.sources import DATA_SOURCES

    known = dict.fromkeys(name for source in DATA_SOURCES for name in source.workloads)
    wanted = known if FLAGS.workloads is None else FLAGS.workloads
    if unknown := set(wanted) - set(known):
        raise UserError(f"--workloads: unknown {sorted(unknown)}; allowed: {', '.join(known)}")
    for source in DATA_SOURCES:
        if not set(source.workloads) & set(wanted):
            continue
        print(source.wheel.requirement)
        for name, value in (
            ("workloads", ", ".join(source.workloads)),
            ("contents", source.contents),
            ("licence", f"{source.licence} ({', '.join(source.licence_files)})"),
            ("homepage", source.homepage),
            ("wheel", source.wheel.filename),
            ("sha256", source.wheel.sha256),
        ):
            print(f"  {name:10}{value}")
    return 0


if __name__ == "__main__":
    run_main(main)
