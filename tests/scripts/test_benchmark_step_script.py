"""scripts/benchmark_step.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

REPOSITORY = Path(__file__).parents[2]


def benchmark_step(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmark_step.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_prints_a_table_and_writes_it(tmp_path: Path):
    output = tmp_path / "steps.csv"
    done = benchmark_step(
        "--framework=pytorch",
        "--optimizers=muon,soap",
        "--shapes=llama_small",
        "--refresh_every=2",
        "--periods=1",
        "--repeats=1",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(output)
    assert table["contender"].tolist() == ["torch_adamw_fused", "soap", "muon"]
    assert table["ratio"].tolist()[0] == 1.0
    assert table["refresh_ms"].isna().tolist() == [True, False, True]
    for name in table["contender"]:
        assert name in done.stdout
    assert "ratio: amortised_ms / that of torch_adamw_fused, 2 steps per refresh" in done.stdout


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--optimizers=sgd", "--optimizers: 'sgd' is unknown; allowed: all, torch_adamw_fused"),
        ("--shapes=mnist", "--shapes: 'mnist' is unknown; allowed: all, criteo1tb"),
        ("--threads=one", "--threads=one: not whole numbers"),
        ("--threads=0", "--threads=0: at least 1"),
        ("--refresh_every=1", "--refresh_every=1"),
        ("--framework=tensorflow", "<jax|pytorch>"),
    ],
)
def test_bad_input_is_one_line_and_status_2(flag: str, told: str):
    done = benchmark_step(flag)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert told in line
