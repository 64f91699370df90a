"""Print how much state every optimizer keeps for LLaMA models, beside what a paper says.

Example: python scripts/memory_table.py --optimizers=adadiag,asgo,shampoo --models=60M,1.3B
"""

import collections
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmark.choices import choose
from benchmark.errors import run_main
from workloads_overrides.c4.config import MODELS, Tensor

FLAGS = flags.FLAGS

flags.DEFINE_list("optimizers", ["all"], "Names of scripts/list_optimizers.py, or all.")
flags.DEFINE_list("models", ["all"], f"Sizes of LLaMA, of {', '.join(MODELS)}, or all.")

# The paper tells no unit and no details. Every figure but GaLore's comes out, to its last digit, in
# units of 1.024e9 bytes, two bytes for each number, without the state of the norms' vectors.
UNIT = 1.024e9
COUNTED_BYTES = 2
NOT_COUNTED = "vector"

GALORE_RANKS = {"60M": 128, "130M": 256, "350M": 256, "1.3B": 512}


class Row(NamedTuple):
    """An optimizer with hyperparameters, and what the paper calls it and says of each model."""

    optimizer: str
    label: str
    values: Mapping[str, Any] = {}
    published_as: str = ""
    published: Mapping[str, float] = {}


class Size(NamedTuple):
    """Bytes of an optimizer's state for a model, as the paper counts and as they are allocated."""

    counted: int
    allocated: int


def _published(optimizer: str, name: str, *figures: float, **values: Any) -> Row:
    label = ", ".join((optimizer, *(f"{key} = {value}" for key, value in values.items())))
    return Row(optimizer, label, values, name, dict(zip(MODELS, figures, strict=True)))


# Table 3 of the AdaDiag paper (arXiv 2502.07488).
PUBLISHED = (
    _published("nadamw", "Adam", 0.23, 0.52, 1.44, 5.23),
    _published("adadiag", "AdaDiag", 0.26, 0.62, 1.78, 6.61),
    _published("adadiag_plus_plus", "AdaDiag++", 0.36, 0.97, 3.03, 11.59),
    _published("adafactor", "Adafactor w/ m.", 0.18, 0.36, 0.85, 2.87),
    _published("adafactor", "Adafactor w/o m.", 0.06, 0.10, 0.13, 0.26, beta1=0),
    _published("adafacdiag", "AdafacDiag w/ m.", 0.21, 0.45, 1.19, 4.25),
    _published("adafacdiag", "AdafacDiag w/o m.", 0.09, 0.19, 0.47, 1.63, beta1=0),
    _published("hfac", "Hfac", 0.13, 0.19, 0.26, 0.52),
    _published("hfacdiag", "HfacDiag", 0.16, 0.29, 0.60, 1.89),
    _published("galore", "GaLore", 0.13, 0.28, 0.54, 1.78),
)


def main() -> int:
    # Here, because JAX takes a second that --help need not wait for.
    from benchmark.progress import reporter
    from submissions.registry import OPTIMIZERS

    names = choose("optimizers", FLAGS.optimizers, OPTIMIZERS)
    models = choose("models", FLAGS.models, MODELS)
    covered = {row.optimizer for row in PUBLISHED}
    rows = [row for row in PUBLISHED if row.optimizer in names]
    rows += [Row(name, name) for name in names if name not in covered]
    sizes: dict[str, list[Size]] = {}
    with reporter(stream=sys.stderr) as progress:
        for number, row in enumerate(rows):
            progress.update("memory", number / len(rows), row.label)
            sizes[row.label] = [_size(row, model) for model in models]
        progress.end("memory", f"{len(rows)} optimizers")
    _print_counted(rows, models, sizes)
    print()
    _print_allocated(rows, models, sizes)
    return 0


def _size(row: Row, model: str) -> Size:
    """Summed over tensors, of which equal ones are counted once: no tensor's state needs others."""
    ranks = {"rank": GALORE_RANKS[model]} if row.optimizer == "galore" else {}
    counted = allocated = 0
    for tensor, copies in collections.Counter(MODELS[model].tensors().values()).items():
        elements, bytes_ = _state(row.optimizer, {**row.values, **ranks}, tensor)
        allocated += copies * bytes_
        if tensor.role != NOT_COUNTED:
            counted += copies * elements * COUNTED_BYTES
    return Size(counted, allocated)


def _state(optimizer: str, values: Mapping[str, Any], tensor: Tensor) -> tuple[int, int]:
    """(numbers, bytes) of the state that the real optimizer has for a float32 tensor."""
    import jax

    from matprec.jax.memory import state_size
    from submissions.common.hyperparameters import make_run
    from submissions.common.jax import make_optimizer

    run = make_run(optimizer, values)
    transformation = make_optimizer(run, lambda path, leaf: tensor.role)
    size = state_size(transformation, {"tensor": jax.ShapeDtypeStruct(tensor.shape, "float32")})
    return size.elements, size.bytes


def _print_counted(
    rows: Sequence[Row], models: Sequence[str], sizes: Mapping[str, Sequence[Size]]
) -> None:
    from benchmark.tables import Heading, print_rows

    print(
        "State in G of 1.024e9 bytes as Table 3 of arXiv 2502.07488 counts: 2 bytes per number, "
        "norms left out."
    )
    headings = [Heading("optimizer"), Heading("published as")]
    for model in models:
        headings += [Heading(f"{model}\nhere", True), Heading("\npaper", True)]
    table = []
    for row in rows:
        cells = [row.label, row.published_as or "-"]
        for model, size in zip(models, sizes[row.label], strict=True):
            figure = row.published.get(model)
            cells += [f"{size.counted / UNIT:.3f}", "-" if figure is None else f"{figure:.2f}"]
        table.append(cells)
    print_rows(headings, table)
    if any(row.optimizer == "galore" for row in rows):
        ranks = ", ".join(f"{GALORE_RANKS[model]} for {model}" for model in models)
        print(f"GaLore's rank is {ranks}; its published figures are not those of its state.")


def _print_allocated(
    rows: Sequence[Row], models: Sequence[str], sizes: Mapping[str, Sequence[Size]]
) -> None:
    from benchmark.tables import Heading, print_rows

    print("State in G of 1.024e9 bytes as it is allocated: float32, norms and counters included.")
    headings = [Heading("optimizer"), *(Heading(model, True) for model in models)]
    print_rows(
        headings,
        [
            [row.label, *(f"{size.allocated / UNIT:.3f}" for size in sizes[row.label])]
            for row in rows
        ],
    )


if __name__ == "__main__":
    run_main(main)
