"""scripts/memory_table.py, and the published figures that the real optimizers' states reproduce."""

import collections
import functools
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from matprec.jax.memory import StateSize, state_size
from submissions.common.hyperparameters import make_run
from submissions.common.jax import make_optimizer
from submissions.registry import OPTIMIZERS
from workloads_overrides.c4.config import MODELS, Tensor

SCRIPT = Path(__file__).parents[2] / "scripts" / "memory_table.py"
UNIT = 1.024e9

# Table 3 of arXiv 2502.07488: as in the script, with the first moment or, "w/o", without it.
PUBLISHED = {
    "nadamw": (0.23, 0.52, 1.44, 5.23),
    "adadiag": (0.26, 0.62, 1.78, 6.61),
    "adadiag_plus_plus": (0.36, 0.97, 3.03, 11.59),
    "adafactor": (0.18, 0.36, 0.85, 2.87),
    "adafactor, beta1 = 0": (0.06, 0.10, 0.13, 0.26),
    "adafacdiag": (0.21, 0.45, 1.19, 4.25),
    "adafacdiag, beta1 = 0": (0.09, 0.19, 0.47, 1.63),
    "hfac": (0.13, 0.19, 0.26, 0.52),
    "hfacdiag": (0.16, 0.29, 0.60, 1.89),
}
GALORE = (0.13, 0.28, 0.54, 1.78)
RANKS = {"60M": 128, "130M": 256, "350M": 256, "1.3B": 512}
FIGURES = [
    (label, model, figure)
    for label, figures in PUBLISHED.items()
    for model, figure in zip(MODELS, figures, strict=True)
]


def optimizer(label: str, model: str, role):
    name, *without_momentum = label.split(", ")
    values = {"beta1": 0.0} if without_momentum else {}
    if name == "galore":
        values["rank"] = RANKS[model]
    return make_optimizer(make_run(name, values), role)


@functools.cache
def one(label: str, model: str, tensor: Tensor) -> StateSize:
    transformation = optimizer(label, model, lambda path, leaf: tensor.role)
    return state_size(transformation, {"x": jax.ShapeDtypeStruct(tensor.shape, "float32")})


def total(label: str, model: str, without: str = "") -> StateSize:
    """The state for a model, but for tensors of the role `without`."""
    tensors = collections.Counter(MODELS[model].tensors().values())
    sizes = [
        tuple(copies * number for number in one(label, model, tensor))
        for tensor, copies in tensors.items()
        if tensor.role != without
    ]
    return StateSize(*map(sum, zip(*sizes, strict=True)))


@pytest.mark.parametrize(("label", "model", "figure"), FIGURES)
def test_every_published_figure_to_its_printed_digit(label, model, figure):
    mine = 2 * total(label, model, without="vector").elements / UNIT
    assert abs(mine - figure) <= 0.005


def test_with_the_norms_one_published_figure_would_be_missed():
    off = {
        (label, model): 2 * total(label, model).elements / UNIT - figure
        for label, model, figure in FIGURES
    }
    missed = {key: value for key, value in off.items() if abs(value) > 0.005}
    assert missed == {("adafacdiag", "130M"): pytest.approx(0.005073, abs=1e-6)}


@pytest.mark.parametrize("model", MODELS)
def test_galores_state(model):
    llama, rank = MODELS[model], RANKS[model]
    square = 3 * rank * llama.hidden
    mlp = rank * llama.hidden + 2 * rank * llama.ffn
    adam = 2 * 2 * llama.vocab * llama.hidden
    elements = total("galore", model, without="vector").elements
    assert elements == llama.layers * (4 * square + 3 * mlp) + adam


@pytest.mark.parametrize("label", [*PUBLISHED, "galore", "asgo", "shampoo", "soap", "caspr"])
def test_tensors_add_up_to_the_whole_model(label):
    tensors = MODELS["60M"].tensors()
    params = {path: jax.ShapeDtypeStruct(x.shape, "float32") for path, x in tensors.items()}
    transformation = optimizer(label, "60M", lambda path, leaf: tensors[path].role)
    assert state_size(transformation, params) == total(label, "60M")


def memory_table(*flags: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def parse(lines: list[str]) -> dict[str, list[str]]:
    """The cells of every row below the rule, by the first one."""
    rule = next(number for number, line in enumerate(lines) if line.startswith("──"))
    rows = [re.split(r"  +", line.strip()) for line in lines[rule + 1 :]]
    return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def printed() -> str:
    done = memory_table("--models=60M,130M")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("memory: ") for line in done.stderr.splitlines())
    return done.stdout


def test_the_table_beside_the_published_one(printed):
    lines = printed.splitlines()
    note = next(number for number, line in enumerate(lines) if line.startswith("GaLore's rank"))
    assert lines[note].startswith("GaLore's rank is 128 for 60M, 256 for 130M;")
    table = parse(lines[:note])
    labels = [*PUBLISHED, "galore"]
    assert list(table) == labels + [name for name in OPTIMIZERS if name not in labels]
    assert len({cells[0] for cells in table.values()}) == len(labels) + 1
    for label, cells in table.items():
        figures = PUBLISHED.get(label, GALORE if label == "galore" else None)
        wanted = []
        for model, place in (("60M", 0), ("130M", 1)):
            mine = 2 * total(label, model, without="vector").elements / UNIT
            wanted += [f"{mine:.3f}", f"{figures[place]:.2f}" if figures else "-"]
        assert cells[1:] == wanted, label
        assert (cells[0] == "-") == (figures is None)


def test_the_bytes_that_are_allocated(printed):
    lines = printed.splitlines()
    start = next(number for number, line in enumerate(lines) if "allocated" in line)
    table = parse(lines[start:])
    assert set(table) == set(PUBLISHED) | set(OPTIMIZERS)
    for label, cells in table.items():
        assert cells == [f"{total(label, m).bytes / UNIT:.3f}" for m in ("60M", "130M")], label


def test_chosen_optimizers_and_models(tmp_path):
    done = memory_table("--optimizers=asgo,adafactor", "--models=60M", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counted, allocated = done.stdout.split("\n\n")
    wanted = ["adafactor", "adafactor, beta1 = 0", "asgo"]
    assert list(parse(counted.splitlines())) == wanted
    assert list(parse(allocated.splitlines())) == wanted
    assert "350M" not in done.stdout
    assert "GaLore's rank" not in done.stdout


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--optimizers=asgo,sgd", "error: --optimizers: 'sgd' is unknown; allowed: all, adamw, "),
        ("--optimizers=", "error: --optimizers: '' is unknown; allowed: all, adamw, "),
        ("--models=7B", "error: --models: '7B' is unknown; allowed: all, 60M, 130M, 350M, 1.3B\n"),
        ("--model=60M", "error: Unknown command line flag 'model'. Did you mean: models ?"),
        ("60M", "error: unexpected argument '60M': flags are written --name=value"),
    ],
)
def test_mistakes_in_one_line(flag, told):
    done = memory_table(flag)
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help():
    done = memory_table("--help")
    assert done.returncode == 0
    assert "Example: python scripts/memory_table.py --optimizers=" in done.stdout
    assert "60M, 130M, 350M, 1.3B" in done.stdout
