"""scripts/benchmark_step.py as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

REPOSITORY = Path(__file__).parents[2]


def benchmark_step(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmark_step.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


QUICK = ("--refresh_every=2", "--periods=1", "--repeats=1")
SHAPES = {"pytorch": [[[16, 16], "matrix"], [[16], "vector"]]}

# Stands for a clone of SOAP's reference code.
CLONE = """
import torch

class SOAP(torch.optim.SGD):
    def __init__(self, params, lr, weight_decay, precondition_frequency, max_precond_dim):
        assert precondition_frequency == 2
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=0.9)
"""


def test_ours_beside_a_peer_with_a_file_of_the_table_a_chart_and_goals(tmp_path: Path):
    (tmp_path / "soap.py").write_text(CLONE)
    (tmp_path / "shapes.json").write_text(json.dumps(SHAPES))
    done = benchmark_step(
        *QUICK,
        "--optimizers=soap",
        "--peers=soap_reference",
        f"--peer_path={tmp_path}",
        f"--shapes={tmp_path / 'shapes.json'}",
        f"--plot={tmp_path / 'steps.svg'}",
        f"--output={tmp_path / 'steps.csv'}",
        "--check",
    )
    assert done.stderr == ""
    table = pd.read_csv(tmp_path / "steps.csv").set_index("contender")
    assert list(table.index) == ["torch_adamw_fused", "soap", "soap_reference"]
    for name in table.index:
        assert name in done.stdout
    assert table["family"].tolist() == ["nadamw", "soap", "soap"]
    assert table["ratio"].tolist()[0] == 1.0
    assert table["refresh_ms"].isna().tolist() == [True, False, False]
    assert (table["floor_ms"] > 0).all()
    assert table["floor_ms"]["soap"] == table["floor_ms"]["soap_reference"]
    # A momentum of the matrix; AdamW's moments and count of the vector.
    assert table["state_mb"]["soap_reference"] == pytest.approx(4e-6 * (256 + 2 * 16 + 1))
    assert "<svg" in (tmp_path / "steps.svg").read_text()
    assert "ratio: amortised_ms / that of torch_adamw_fused, 2 steps per refresh" in done.stdout
    goals = [line for line in done.stdout.splitlines() if line.startswith("goal")]
    assert goals[:3] == [f"goal {number}: not timed" for number in (1, 2, 3)]
    assert "(the formula's state, 1) soap on " in goals[5]
    assert done.returncode == int(any(line.endswith(", MISSED") for line in goals))


def test_ranks_on_equal_matrices(tmp_path: Path):
    done = benchmark_step(
        *QUICK,
        "--optimizers=asgo",
        "--shapes=6x8x4",
        "--ranks=2",
        f"--plot={tmp_path / 'steps.svg'}",
        f"--output={tmp_path / 'steps.csv'}",
        "--check",
    )
    assert done.stderr == ""
    table = pd.read_csv(tmp_path / "steps.csv")
    assert table["model"].tolist() == ["6x8x4"] * 4
    assert table["contender"].tolist() == ["torch_adamw_fused", "asgo", "asgo", "asgo"]
    assert table["rank"].tolist() == [0, 0, 0, 1]
    assert table.query("ranks == 2")["refresh_share"].tolist() == [0.5] * 2
    assert table["parameters"].tolist() == [192] * 4
    assert "<svg" in (tmp_path / "steps.svg").read_text()
    goals = [line for line in done.stdout.splitlines() if line.startswith("goal")]
    who = "asgo on 6x8x4 in pytorch, 2 ranks, shares by count 0.5 and 0.5"
    assert f" (at most 0.6) {who}, steps without refresh " in goals[-2]
    assert goals[-1] == "goal 8: not timed"
    assert done.returncode == int(any(line.endswith(", MISSED") for line in goals))


def test_what_devices_decompose(tmp_path: Path):
    done = benchmark_step(
        *QUICK,
        "--framework=jax",
        "--optimizers=asgo",
        "--shapes=9x8x4",
        "--devices=8",
        f"--output={tmp_path / 'steps.csv'}",
        "--check",
    )
    assert done.stderr == ""
    table = pd.read_csv(tmp_path / "steps.csv").set_index("contender")
    assert table["over_share"]["asgo"] == 1.0
    assert table["device_shares"]["asgo"] == "9:2"
    who = "asgo on 9x8x4 in jax, 8 devices, matrices of a stack: 9:2"
    assert f"goal 7: 1 (at most 1) {who}" in done.stdout.splitlines()


def test_a_peer_that_is_missing_is_one_line_and_status_1(tmp_path: Path):
    (tmp_path / "distributed_shampoo").mkdir()
    (tmp_path / "distributed_shampoo" / "distributed_shampoo.py").write_text("")
    done = benchmark_step(
        *QUICK, "--optimizers=muon", "--peers=distributed_shampoo", f"--peer_path={tmp_path}"
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --peers: distributed_shampoo needs distributed_shampoo (")
    assert line.endswith(": --peer_path=a clone of github.com/facebookresearch/optimizers")


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--optimizers=sgd", "--optimizers: 'sgd' is unknown; allowed: all, torch_adamw_fused"),
        ("--shapes=mnist", "--shapes: 'mnist' is unknown; allowed: all, criteo1tb"),
        ("--shapes=none.json", "--shapes: "),
        ("--shapes=3x4", "--shapes: '3x4' is not of the form 100x64x32, of positive numbers"),
        ("--ranks=0", "--ranks=0"),
        ("--devices=2", "--devices=2: --framework=jax only"),
        ("--peers=adam", "--peers: 'adam' is unknown; allowed: all, torch_muon"),
        ("--peer_path=tests", "--peer_path=tests: no clone of facebookresearch/optimizers"),
        ("--settings=size=3", "--settings=size=3: no optimizer has a hyperparameter 'size'"),
        ("--plot=steps.pdf", "--plot=steps.pdf: ends in neither .png nor .svg"),
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


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--ranks=2", "--framework=jax"), "--ranks=2: --framework=pytorch only"),
        (
            ("--ranks=2", "--optimizers=soap,muon", "--settings=stagger=true"),
            "--ranks=2: none of soap,muon refreshes all its matrices in one step",
        ),
    ],
)
def test_flags_that_do_not_fit_together(flags: tuple[str, ...], told: str):
    done = benchmark_step(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {told}\n"
