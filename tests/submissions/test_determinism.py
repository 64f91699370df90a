"""The same seed gives the same run, bit for bit, on the real workload in both frameworks."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
CLOCKS = ("score", "total_duration", "accumulated_")


def run(framework, folder):
    """Fourteen steps of Shampoo, with two refreshes, evaluated by steps; the logged evaluations."""
    command = [
        sys.executable,
        str(ROOT / "scripts" / "run.py"),
        "--workload=ogbg_small",
        f"--framework={framework}",
        f"--submission_path=submissions/shampoo/{framework}/submission.py",
        f"--tuning_search_space={ROOT}/tuning_search_spaces/shampoo.json",
        f"--data_dir={ROOT}/data",
        f"--experiment_dir={folder}",
        "--experiment_name=same",
        "--rng_seed=5",
        "--eval_every_steps=14",
        "--max_global_steps=14",
        "--progress=none",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    trial = folder / "same" / f"ogbg_small_{framework}" / "trial_1"
    rows = pd.read_csv(trial / "eval_measurements.csv")
    losses = pd.read_csv(trial / "measurements.csv")
    return rows[[c for c in rows if not c.startswith(CLOCKS)]], losses["loss"].dropna()


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_one_seed_one_run(framework, tmp_path):
    first, first_losses = run(framework, tmp_path / "first")
    second, second_losses = run(framework, tmp_path / "second")
    assert first["global_step"].tolist() == [1, 14]
    assert first["train/loss"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert first_losses.tolist() == second_losses.tolist()
