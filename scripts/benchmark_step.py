"""Time one optimizer step on the parameter shapes of real models, optimizers side by side.

Example: python scripts/benchmark_step.py --optimizers=soap,shampoo --shapes=ogbg
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.choices import choose
from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS

flags.DEFINE_enum("framework", "pytorch", ["jax", "pytorch"], "The optimizers' framework.")
flags.DEFINE_list(
    "optimizers", ["all"], "Names of scripts/list_optimizers.py, or references; or all."
)
flags.DEFINE_list("shapes", ["ogbg"], "Models whose parameters' shapes are taken, or all.")
flags.DEFINE_list("threads", ["1"], "Numbers of threads, each timed by itself.")
flags.DEFINE_integer("refresh_every", 10, "Steps between refreshes.", lower_bound=2)
flags.DEFINE_integer("periods", 2, "Periods of so many steps that are timed.", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "Processes per optimizer, taken in turn.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")


def main() -> int:
    # Here, because they import pandas, which --help need not wait for.
    from rich.console import Console
    from rich.progress import track

    from speed import race
    from speed.contenders import REFERENCES, contenders
    from speed.tensors import models
    from speed.worker import Setup

    names = choose("optimizers", FLAGS.optimizers, contenders(FLAGS.framework))
    reference = REFERENCES[FLAGS.framework][0]
    setups = [
        Setup(FLAGS.framework, name, model, threads, FLAGS.refresh_every, FLAGS.periods)
        for model in choose("shapes", FLAGS.shapes, models())
        for threads in _threads()
        for name in dict.fromkeys([reference, *names])
    ]
    console = Console(stderr=True)
    todo = list(race.schedule(setups, FLAGS.repeats))
    results = []
    try:
        for setup in track(
            todo, "timing", console=console, transient=True, disable=not console.is_terminal
        ):
            results.append((setup, race.run(setup)))
    except race.StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = race.table(results)
    if FLAGS.output:
        table.to_csv(FLAGS.output, index=False, lineterminator="\n")
    shown = table.drop(columns=["framework"])
    Console(width=None if console.is_terminal else 160).print(
        shown.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"),
        highlight=False,
    )
    print(f"ratio: amortised_ms / that of {reference}, {FLAGS.refresh_every} steps per refresh")
    return 0


def _threads() -> list[int]:
    given = ",".join(FLAGS.threads)
    try:
        numbers = [int(text) for text in FLAGS.threads]
    except ValueError as error:
        raise UserError(f"--threads={given}: not whole numbers") from error
    if not numbers or min(numbers) < 1:
        raise UserError(f"--threads={given}: at least 1")
    return numbers


if __name__ == "__main__":
    run_main(main)
