"""scripts/predict.py as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import warm_processes
from imagined_steps import DEVICES, step_times

REPOSITORY = Path(__file__).parents[2]


def predict(*flags: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own that has what it imports."""
    return warm_processes.run_script("predict", *flags)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of imagined V100s, four evaluations a trial."""
    root = tmp_path_factory.mktemp("imagined") / "logs"
    meta = json.dumps({"gpu_model_name": "Tesla V100-SXM2-16GB", "gpu_count": DEVICES})
    for row in step_times():
        folder = root / row.submission / "study_0" / f"{row.workload}_{row.framework}" / "trial_1"
        folder.mkdir(parents=True)
        lines = [f"{9 + 100 * i * row.seconds!r},{1 + 100 * i}" for i in range(4)]
        header = "accumulated_submission_time,global_step"
        (folder / "eval_measurements.csv").write_text("\n".join([header, *lines, ""]))
        (folder / "meta_data_0.json").write_text(meta)
    return root


def test_prints_a_table_and_writes_it_without_what_cannot_be_asked(tmp_path: Path):
    """As a user starts it."""
    output = tmp_path / "costs.csv"
    flags = [
        "--gpu=h100",
        "--num_gpus=2",
        "--workload=ogbg,llama_60m",
        "--optimizers=muon,caspr,soap",
        "--root_method=newton",
        "--step_ratio=0.5",
        f"--output={output}",
    ]
    command = [sys.executable, str(REPOSITORY / "scripts" / "predict.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("caspr left out: CASPR: root_method='newton'")
    table = pd.read_csv(output)
    assert table["workload"].tolist() == ["ogbg"] * 2 + ["llama_60m"] * 2
    assert table["optimizer"].tolist() == ["soap", "muon"] * 2
    assert table["refresh_ms"].isna().tolist() == [False, True] * 2
    assert table["time_ratio"].between(0.5, 1).all()
    assert "2 H100-SXM5-80GB, pytorch, products in fp32" in done.stdout
    assert "over nadamw's, with 0.5 of its steps" in done.stdout


def test_calibrates_and_validates(tmp_path: Path, logs: Path):
    constants, output = tmp_path / "constants.json", tmp_path / "errors.csv"
    done = predict("--calibrate", f"--logs_v100={logs}", f"--calibration={constants}")
    assert done.returncode == 0, done.stderr
    assert "factorisation: 4e+11 (4e+11 to 4e+11)" in done.stdout
    assert f"wrote {constants}" in done.stdout
    done = predict(
        "--validate",
        f"--logs_v100={logs}",
        f"--calibration={constants}",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(output)
    assert len(table) == len(step_times())
    assert table["error_percent"].abs().max() < 0.01
    assert "4 tests: median absolute error 0 %" in done.stdout
    assert "Steps less those of another entry, milliseconds" in done.stdout


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--workload=mnist"], "--workload: 'mnist' is unknown; allowed: all, criteo1tb"),
        (["--optimizers=sgd"], "--optimizers: 'sgd' is unknown; allowed: all, nadamw"),
        (["--refresh_every=0"], "--refresh_every=0"),
        (["--gpu=v100", "--precision=tf32"], "--precision=tf32: v100 has fp32, fp16"),
        (["--calibrate"], "--calibrate: name folders of logs, --logs_v100=..."),
        (["--validate"], "--validate: name folders of logs"),
        (["--validate", "--logs_a100=absent"], "absent: no such folder of logs"),
        (["--calibration=absent.json"], "absent.json: no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(flags: list[str], told: str):
    done = predict(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert told in line


def test_logs_of_another_gpu_are_refused(logs: Path):
    done = predict("--validate", f"--logs_a100={logs}")
    assert done.returncode == 2
    assert "its logs are of Tesla V100-SXM2-16GB, not of A100-SXM4-40GB" in done.stderr
