"""List every optimizer: its class, the state that it keeps and where it is published.

Example: python scripts/list_optimizers.py --rows=768 --columns=3072
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.errors import run_main

FLAGS = flags.FLAGS

flags.DEFINE_integer("rows", 512, "Rows (outputs) of the example matrix.", lower_bound=1)
flags.DEFINE_integer("columns", 2048, "Columns (inputs) of the example matrix.", lower_bound=1)


def main() -> int:
    from benchmark.tables import Heading, print_rows
    from submissions.registry import OPTIMIZERS

    rows, columns = FLAGS.rows, FLAGS.columns
    sizes = {name: _elements(name, rows, columns) for name in OPTIMIZERS}
    adam = sizes["nadamw"]
    print_rows(
        [
            Heading("optimizer"),
            Heading("algorithm"),
            Heading("state, numbers for\na matrix m x n"),
            Heading(f"for\n{rows} x {columns}", numeric=True),
            Heading("times\nAdam's", numeric=True),
            Heading("source"),
        ],
        [
            (
                name,
                _algorithm(optimizer.algorithm),
                _formula(optimizer.state_size, optimizer.hyperparameters),
                f"{sizes[name]:,}",
                f"{sizes[name] / adam:.3f}",
                optimizer.source,
            )
            for name, optimizer in OPTIMIZERS.items()
        ],
    )
    print(
        "m x n: rows (outputs) x columns (inputs); d: the shorter side, D: the longer; "
        "all with default hyperparameters; this project's own add four counters per matrix or block"
    )
    return 0


def _elements(name: str, rows: int, columns: int) -> int:
    """Numbers that the real optimizer keeps for a rows x columns matrix."""
    import jax

    from matprec.jax.memory import state_size
    from submissions.common.hyperparameters import make_run
    from submissions.common.jax import make_optimizer

    kernel = jax.ShapeDtypeStruct((columns, rows), "float32")  # flax: inputs x outputs
    optimizer = make_optimizer(make_run(name, None))
    return state_size(optimizer, {"kernel": kernel}).elements


def _algorithm(algorithm: type | None) -> str:
    """File and class under matprec/algorithms, or that the frameworks bring it."""
    if algorithm is None:
        return "the frameworks' own"
    return f"{algorithm.__module__.rpartition('.')[2]}.{algorithm.__name__}"


def _formula(expression: str, hyperparameters: dict) -> str:
    """A Python expression as people write it, and what its other numbers are.

    >>> _formula("2*m*n + 2*(m**2 + n**2)", {"block_size": 1024})
    '2mn + 2(m² + n²), in blocks of 1024'
    """
    text = expression.replace("**2", "²").replace("*", "")
    if re.search(r"\br\b", expression):
        text += f", r = {hyperparameters['rank']}"
    if hyperparameters.get("block_size") is not None:
        text += f", in blocks of {hyperparameters['block_size']}"
    return text


if __name__ == "__main__":
    run_main(main)
