"""Time one optimizer step on the parameter shapes of real models, optimizers side by side.

Example: python scripts/benchmark_step.py --optimizers=soap,shampoo --shapes=ogbg --plot=steps.png

Peers, which are other packages' optimizers, come with --peers; see README.md.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.choices import choose
from benchmark.errors import UserError, run_main

if TYPE_CHECKING:
    import pandas as pd

FLAGS = flags.FLAGS

flags.DEFINE_enum("framework", "pytorch", ["jax", "pytorch"], "The optimizers' framework.")
flags.DEFINE_list(
    "optimizers", ["all"], "Names of scripts/list_optimizers.py, or references; or all."
)
flags.DEFINE_list(
    "shapes",
    ["ogbg"],
    "Models whose parameters' shapes are taken, or all; or JSON files with one list per framework "
    "of [shape, role].",
)
flags.DEFINE_list("peers", ["none"], "Other packages' optimizers, all that there are, or none.")
flags.DEFINE_list("peer_path", [], "Folders of clones that peers are imported from.")
flags.DEFINE_string("peer_python", sys.executable, "The interpreter that has the peers' packages.")
flags.DEFINE_list(
    "settings", [], "Hyperparameters for those of the optimizers that have them: name=value."
)
flags.DEFINE_list("threads", ["1"], "Numbers of threads, each timed by itself.")
flags.DEFINE_integer("refresh_every", 10, "Steps between refreshes.", lower_bound=2)
flags.DEFINE_integer("periods", 2, "Periods of so many steps that are timed.", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "Processes per optimizer, taken in turn.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")
flags.DEFINE_string("plot", None, "Bar chart to write, .png or .svg.")
flags.DEFINE_boolean("check", False, "Compare with the goals; exit with 1 if one is missed.")

SHOWN = [
    *("contender", "model", "threads", "plain_ms", "floor_ms", "over_floor", "refresh_ms"),
    *("amortised_ms", "ratio", "p50_ms", "p95_ms", "max_ms", "compile_s", "state_mb"),
    "temporary_mb",
]


def main() -> int:
    if FLAGS.plot and Path(FLAGS.plot).suffix not in (".png", ".svg"):
        raise UserError(f"--plot={FLAGS.plot}: ends in neither .png nor .svg")
    setups = _setups()

    # Here, because neither --help nor a mistake need wait for pandas and PyTorch.
    from rich.console import Console

    from speed import goals, race
    from speed.contenders import REFERENCES

    console = Console(stderr=True)
    try:
        _check_peers(setups)
        table = _timed(setups, console)
    except race.StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if FLAGS.output:
        table.to_csv(FLAGS.output, index=False, lineterminator="\n")
    if FLAGS.plot:
        from speed import plot

        plot.write(table, Path(FLAGS.plot))
    shown = table.filter(items=SHOWN)
    Console(width=None if console.is_terminal else 200).print(
        shown.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"),
        highlight=False,
    )
    reference = REFERENCES[FLAGS.framework][0]
    print(f"ratio: amortised_ms / that of {reference}, {FLAGS.refresh_every} steps per refresh")
    if not FLAGS.check:
        return 0
    lines, reached = goals.lines(table)
    print(*lines, sep="\n")
    return 0 if reached else 1


def _setups() -> list[Any]:
    """What to time: on every model with every number of threads the reference comes first."""
    from speed.contenders import REFERENCES, contenders
    from speed.peers import installed
    from speed.worker import Setup

    names = choose("optimizers", FLAGS.optimizers, contenders(FLAGS.framework))
    names = list(dict.fromkeys([REFERENCES[FLAGS.framework][0], *names, *_peers()]))
    more = _settings()
    return [
        Setup(
            framework=FLAGS.framework,
            contender=name,
            model=model,
            threads=threads,
            refresh_every=FLAGS.refresh_every,
            periods=FLAGS.periods,
            settings=more,
            paths=installed.paths(name, _folders()),
        )
        for model in _models()
        for threads in _threads()
        for name in names
    ]


def _models() -> list[str]:
    """Known names, and whole paths of files that can be read."""
    from speed.tensors import ShapesError, tensors, timed_models

    files = [name for name in FLAGS.shapes if name.endswith(".json")]
    names = [name for name in FLAGS.shapes if name not in files]
    found = [str(Path(name).resolve()) for name in files]
    try:
        for path in found:
            tensors(path, FLAGS.framework)
    except ShapesError as error:
        raise UserError(f"--shapes: {error}") from error
    return (choose("shapes", names, timed_models()) if names or not files else []) + found


def _peers() -> list[str]:
    from speed.peers import installed

    if FLAGS.peers == ["none"]:
        return []
    if FLAGS.peers == ["all"]:
        return installed.usable(FLAGS.framework, _folders())
    return choose("peers", FLAGS.peers, installed.known(FLAGS.framework))


def _folders() -> list[Path]:
    from speed.peers import installed

    folders = [Path(name) for name in FLAGS.peer_path]
    for folder in folders:
        if not installed.is_clone(folder):
            raise UserError(
                f"--peer_path={folder}: no clone of facebookresearch/optimizers, nikhilvyas/SOAP "
                "or haydn-jones/SOAP_JAX"
            )
    return folders


def _check_peers(setups: list[Any]) -> None:
    """Raise StepError where the interpreter for peers cannot import one of them."""
    from speed.peers import PEERS, installed
    from speed.race import StepError

    for name in dict.fromkeys(setup.contender for setup in setups if setup.contender in PEERS):
        if reason := installed.why_not(name, FLAGS.peer_python, _folders()):
            raise StepError(f"--peers: {reason}")


def _timed(setups: list[Any], console: Any) -> "pd.DataFrame":
    from rich.progress import track

    from speed import race
    from speed.peers import PEERS
    from speed.table import table

    works = race.works(setups)
    machines = race.floors(works)
    results, rates = [], []
    for setup in track(
        list(race.schedule([*machines, *setups], FLAGS.repeats)),
        "timing",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ):
        if setup in works:
            python = FLAGS.peer_python if setup.contender in PEERS else sys.executable
            results.append((setup, race.run(setup, python)))
        else:
            rates.append((setup, race.run_floor(setup)))
    return table(results, works, rates)


def _threads() -> list[int]:
    given = ",".join(FLAGS.threads)
    try:
        numbers = [int(text) for text in FLAGS.threads]
    except ValueError as error:
        raise UserError(f"--threads={given}: not whole numbers") from error
    if not numbers or min(numbers) < 1:
        raise UserError(f"--threads={given}: at least 1")
    return numbers


def _settings() -> tuple[tuple[str, Any], ...]:
    """Pairs of name and value: a number, true, false, null or else a word."""
    from speed.contenders import known_settings

    found = []
    for text in FLAGS.settings:
        name, _, value = text.partition("=")
        if name not in known_settings():
            raise UserError(f"--settings={text}: no optimizer has a hyperparameter {name!r}")
        try:
            found.append((name, json.loads(value)))
        except ValueError:
            found.append((name, value))
    return tuple(found)


if __name__ == "__main__":
    run_main(main)
