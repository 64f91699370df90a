"""scripts/list_optimizers.py as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from submissions.registry import OPTIMIZERS

SCRIPT = Path(__file__).parents[2] / "scripts" / "list_optimizers.py"
ROWS, COLUMNS = 160, 224  # more than 128: optax factors no shorter side


def list_optimizers(*flags: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def cells(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """The row of every optimizer; cells have two spaces between them, or one beside numbers."""
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rule = next(number for number, line in enumerate(lines) if line.startswith("──"))
    pattern = r"(\S+) +(\S.*?\S)  +(\S.*?\S) +([\d,]+) +([\d.]+) +(\S.*\S) *"
    found = [re.fullmatch(pattern, line) for line in lines[rule + 1 : -1]]
    assert all(found), lines
    return {match[1]: list(match.groups()[1:]) for match in found if match}


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> dict[str, list[str]]:
    elsewhere = tmp_path_factory.mktemp("folder")
    done = list_optimizers(f"--rows={ROWS}", f"--columns={COLUMNS}", cwd=elsewhere)
    assert done.stderr == ""
    return cells(done)


def test_every_name_in_order(listed):
    assert list(listed) == list(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_algorithm_and_source(listed, name):
    algorithm, source = OPTIMIZERS[name].algorithm, OPTIMIZERS[name].source
    assert source
    assert listed[name][4] == source
    if algorithm is None:
        assert listed[name][0] == "the frameworks' own"
    else:
        family, class_name = listed[name][0].split(".")
        assert class_name == algorithm.__name__
        assert (SCRIPT.parents[1] / "matprec" / "algorithms" / f"{family}.py").is_file()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_example_is_the_formulas_value(listed, name):
    sizes = {"m": ROWS, "n": COLUMNS, "d": min(ROWS, COLUMNS), "D": max(ROWS, COLUMNS)}
    rank = OPTIMIZERS[name].hyperparameters.get("rank")
    wanted = eval(OPTIMIZERS[name].state_size, {"min": min, "r": rank} | sizes)
    if name == "adafactor_original":
        wanted += 1  # optax keeps one number in place of the second moment that it factors
    assert int(listed[name][2].replace(",", "")) == wanted
    assert float(listed[name][3]) == pytest.approx(wanted / (2 * ROWS * COLUMNS), abs=0.00051)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_printed_formula_is_the_registrys(listed, name):
    formula, *notes = listed[name][1].split(", ")
    if formula.startswith("min("):
        formula, notes = f"{formula}, {notes[0]}", notes[1:]
    plain = OPTIMIZERS[name].state_size.replace("**2", "²").replace("*", "")
    assert formula == plain
    assert "*" not in listed[name][1]
    values = OPTIMIZERS[name].hyperparameters
    wanted = [f"r = {values['rank']}"] if "rank" in values else []
    if values.get("block_size"):
        wanted.append(f"in blocks of {values['block_size']}")
    assert notes == wanted


def test_formulas_as_people_write_them(listed):
    assert listed["nadamw"][1] == "2mn"
    assert listed["asgo"][1] == "mn + 2d²"
    assert listed["shampoo"][1] == "2mn + 2(m² + n²), in blocks of 1024"
    assert listed["galore"][1] == "min(r, d)(d + 2D), r = 128"


def test_by_default_a_matrix_of_512_x_2048_in_blocks_where_there_are_blocks():
    done = list_optimizers()
    assert "512 x 2048" in done.stdout
    listed = cells(done)
    mn = 512 * 2048
    assert listed["nadamw"][2:4] == [f"{2 * mn:,}", "1.000"]
    assert listed["asgo"][2:4] == [f"{mn + 2 * 512**2:,}", "0.750"]
    blocks = 2 * mn + 2 * 2 * (512**2 + 1024**2)
    assert listed["shampoo"][2:4] == [f"{blocks:,}", f"{blocks / (2 * mn):.3f}"]


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--rows=0", "error: flag --rows=0: 0 is not a positive integer"),
        ("--columns=many", "error: flag --columns=many: invalid literal for int()"),
        ("--column=3", "error: Unknown command line flag 'column'. Did you mean: columns ?"),
        ("asgo", "error: unexpected argument 'asgo': flags are written --name=value"),
    ],
)
def test_mistakes_in_one_line(flag, told):
    done = list_optimizers(flag)
    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help():
    done = list_optimizers("--help")
    assert done.returncode == 0
    assert "Example: python scripts/list_optimizers.py --rows=" in done.stdout
    assert "--columns:" in done.stdout
