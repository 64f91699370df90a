"""Downloads and prepares the data of workloads, once.

Example:
  python scripts/prepare_data.py --workloads=ogbg_small --data_dir=data
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from absl import app, flags
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from workloads_overrides import WORKLOADS, DataError, prepare_data

FLAGS = flags.FLAGS
flags.DEFINE_list("workloads", list(WORKLOADS), f"Comma-separated, of: {', '.join(WORKLOADS)}.")
flags.DEFINE_string("data_dir", "data", "Folder that gets one subfolder per workload.")


def prepare_with_bar(name: str, data_dir: str, console: Console) -> None:
    """`prepare_data` behind a progress bar that goes away when it ends; none outside a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        task = bars.add_task(name, total=1.0)

        def progress(stage: str, fraction: float) -> None:
            bars.update(task, completed=fraction, description=f"{name}: {stage}")

        prepare_data(name, data_dir, progress)


def main(argv: list[str]) -> None:
    console = Console(stderr=True)
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}; allowed: flags only, see --help")
        unknown = set(FLAGS.workloads) - set(WORKLOADS)
        if unknown:
            allowed = ", ".join(WORKLOADS)
            raise ValueError(f"--workloads: unknown {sorted(unknown)}; allowed: {allowed}")
        for name in FLAGS.workloads:
            prepare_with_bar(name, FLAGS.data_dir, console)
            print(f"{name}: prepared in {Path(FLAGS.data_dir) / name}")
    except (DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
