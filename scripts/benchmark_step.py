"""Time one optimizer step on the parameter shapes of real models, optimizers side by side.

Example: python scripts/benchmark_step.py --optimizers=soap,shampoo --shapes=ogbg --plot=steps.png

Peers, which are other packages' optimizers, come with --peers; see README.md.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.choices import choose
from benchmark.errors import UserError, run_main

FLAGS = flags.FLAGS

flags.DEFINE_enum("framework", "pytorch", ["jax", "pytorch"], "The optimizers' framework.")
flags.DEFINE_list(
    "optimizers", ["all"], "Names of scripts/list_optimizers.py, or references; or all."
)
flags.DEFINE_list(
    "shapes",
    ["ogbg"],
    "Models whose parameters' shapes are taken, or all; or JSON files with one list per framework "
    "of [shape, role]; or numbers of equal matrices, such as 10x64x64,1000x64x64.",
)
flags.DEFINE_list("peers", ["none"], "Other packages' optimizers, all that there are, or none.")
flags.DEFINE_list("peer_path", [], "Folders of clones that peers are imported from.")
flags.DEFINE_string("peer_python", sys.executable, "The interpreter that has the peers' packages.")
flags.DEFINE_list(
    "settings", [], "Hyperparameters for those of the optimizers that have them: name=value."
)
flags.DEFINE_list("threads", ["1"], "Numbers of threads, each timed by itself.")
flags.DEFINE_integer(
    "ranks",
    1,
    "PyTorch: optimizers that refresh are timed in so many processes too, which share that.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "devices",
    1,
    "JAX: what each of so many virtual devices decomposes in a shared refresh is counted.",
    lower_bound=1,
)
flags.DEFINE_integer("refresh_every", 10, "Steps between refreshes.", lower_bound=2)
flags.DEFINE_integer("periods", 2, "Periods of so many steps that are timed.", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "Processes per optimizer, taken in turn.", lower_bound=1)
flags.DEFINE_string("output", None, "CSV file to write.")
flags.DEFINE_string("plot", None, "Bar chart to write, .png or .svg.")
flags.DEFINE_boolean("check", False, "Compare with the goals; exit with 1 if one is missed.")


def main() -> int:
    if FLAGS.plot and Path(FLAGS.plot).suffix not in (".png", ".svg"):
        raise UserError(f"--plot={FLAGS.plot}: ends in neither .png nor .svg")
    if FLAGS.ranks > 1 and FLAGS.framework != "pytorch":
        raise UserError(f"--ranks={FLAGS.ranks}: --framework=pytorch only")
    if FLAGS.devices > 1 and FLAGS.framework != "jax":
        raise UserError(f"--devices={FLAGS.devices}: --framework=jax only")
    setups = _setups()

    # Here, because neither --help nor a mistake need wait for pandas and PyTorch.
    from rich.console import Console
    from rich.progress import track

    from speed import goals, race
    from speed.contenders import REFERENCES
    from speed.table import shown
    from speed.timing import timed

    console = Console(stderr=True)
    quiet = not console.is_terminal
    try:
        _check_peers(setups)
        table = timed(
            setups,
            repeats=FLAGS.repeats,
            num_devices=FLAGS.devices,
            peer_python=FLAGS.peer_python,
            track=lambda tasks, title: track(
                tasks, title, console=console, transient=True, disable=quiet
            ),
        )
    except race.StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if FLAGS.output:
        table.to_csv(FLAGS.output, index=False, lineterminator="\n")
    if FLAGS.plot:
        from speed import plot

        plot.write(table.query("ranks == 1"), Path(FLAGS.plot))
    print(shown(table))
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
    from speed.worker import Setup, refreshes_at_once

    names = choose("optimizers", FLAGS.optimizers, contenders(FLAGS.framework))
    names = list(dict.fromkeys([REFERENCES[FLAGS.framework][0], *names, *_peers()]))
    more = _settings()
    shared = [name for name in names if refreshes_at_once(name, dict(more))]
    if FLAGS.ranks > 1 and not shared:
        given = ",".join(FLAGS.optimizers)
        raise UserError(
            f"--ranks={FLAGS.ranks}: none of {given} refreshes all its matrices in one step"
        )
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
            ranks=ranks,
        )
        for model in _models()
        for threads in _threads()
        for name in names
        for ranks in ([1, FLAGS.ranks] if FLAGS.ranks > 1 and name in shared else [1])
    ]


def _models() -> list[str]:
    """Known names, numbers of equal matrices, and whole paths of files that can be read."""
    from speed.tensors import ShapesError, copies, tensors, timed_models

    files = [name for name in FLAGS.shapes if name.endswith(".json")]
    equal = [name for name in FLAGS.shapes if name[:1].isdigit() and name not in files]
    for name in equal:
        if not copies(name):
            raise UserError(f"--shapes: {name!r} is not of the form 100x64x32, of positive numbers")
    names = [name for name in FLAGS.shapes if name not in [*files, *equal]]
    found = [str(Path(name).resolve()) for name in files]
    try:
        for path in found:
            tensors(path, FLAGS.framework)
    except ShapesError as error:
        raise UserError(f"--shapes: {error}") from error
    known = choose("shapes", names, timed_models()) if names or not FLAGS.shapes else []
    return list(dict.fromkeys([*known, *equal, *found]))


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
