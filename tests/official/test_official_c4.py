"""AlgoPerf's own submission_runner on the C4 workloads of full size: whole models, few rows."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from algoperf_api import HAS_ALGOPERF
from benchmark.official import launch
from workloads_overrides.budgets import load
from workloads_overrides.c4.meta import Meta, SplitMeta
from workloads_overrides.c4.sizes import SIZES
from workloads_overrides.c4.tokenizers import ByteTokenizer

pytestmark = [
    pytest.mark.official,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not HAS_ALGOPERF, reason="the official harness is not installed"),
]

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH = 2
# Before any workload or submission is imported: their numbers of rows, which a CPU cannot hold.
SHRINK = """
    import dataclasses, runpy, sys
    from submissions.common import data
    from workloads_overrides.c4 import sizes

    few = dict.fromkeys(("eval_batch_size", "eval_train_rows", "validation_rows", "test_rows"), 2)
    for name, size in sizes.SIZES.items():
        sizes.SIZES[name] = dataclasses.replace(size, steps=1, **few)
    for name in data.BATCH_SIZES:
        data.BATCH_SIZES[name] = 2
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Tokens of no meaning: 512 rows of 256 for training, 2 for each of the other splits."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data") / "c4"
    folder.mkdir()
    splits = {}
    for split, rows in {"train": 512, "validation": 2, "test": 2}.items():
        tokens = rng.integers(2, 258, size=rows * 256 + 1).astype("<u2")
        (folder / f"{split}_00000.bin").write_bytes(tokens.tobytes())
        splits[split] = SplitMeta(((f"{split}_00000.bin", len(tokens)),), len(tokens), len(tokens))
    kind = ByteTokenizer()
    meta = Meta("packed", 0, kind.name, kind.sha256, kind.vocab_size, splits)
    (folder / "meta.json").write_text(json.dumps(meta.to_json()))
    return folder.parent


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("name", ["c4_60m", "c4_130m"])
def test_the_harness_trains_and_evaluates(name, framework, data_dir, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-c", textwrap.dedent(SHRINK), str(launch.__file__)),
            f"--workload={name}",
            f"--framework={framework}",
            "--rules=v0.6_8xV100",
            f"--submission_path=submissions/asgo/{framework}/submission.py",
            "--tuning_ruleset=self",
            f"--experiment_dir={tmp_path}",
            "--experiment_name=e",
            f"--data_dir={data_dir}",
            "--rng_seed=1",
            "--max_global_steps=2",
            "--save_checkpoints=False",
            "--torch_compile=False",
        ],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    trial = tmp_path / "e" / f"{name}_{framework}" / "trial_1"
    rows = pd.read_csv(trial / "eval_measurements.csv")
    # A model that has learned nothing knows as much as chance over its vocabulary.
    assert rows["validation/loss"].iloc[0] == pytest.approx(np.log(32_000), rel=0.1)
    assert np.isfinite(rows.filter(like="/loss")).all().all()
    meta = json.loads((trial / "meta_data_0.json").read_text())
    size = name.removesuffix("_130m")  # an alias
    budget = load("v0.6_8xV100").workloads[size]
    assert meta["workload.step_hint"] == budget.step_hint == SIZES[size].steps
    assert meta["workload.max_allowed_runtime_sec"] == budget.max_allowed_runtime_sec
    assert meta["workload.target_status"] == "provisional"
