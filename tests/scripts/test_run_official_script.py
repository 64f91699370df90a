"""scripts/run.py with AlgoPerf's harness: a fake one, and the real one where it is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_algoperf
import pytest

from benchmark.official import harness

REPOSITORY = Path(__file__).resolve().parents[2]
V100 = ("Tesla V100-SXM2-16GB", 16160)
HAS_HARNESS = harness.installed()


@pytest.fixture
def run(tmp_path):
    """Runs the script from `tmp_path` with a fake harness installed; GPUs come from nvidia-smi."""
    fake = fake_algoperf.write(tmp_path / "harness")
    (tmp_path / "space.json").write_text("[{}]")

    def start(*flags, gpus=(), stdin="y\n", **environment):
        smi = fake_algoperf.write_nvidia_smi(tmp_path / "bin", fake_algoperf.smi_lines(*gpus))
        given = {
            "workload": "ogbg",
            "framework": "jax",
            "submission_path": "submissions/asgo/jax/submission.py",
            "experiment_dir": "runs",
            "experiment_name": "e",
            "tuning_search_space": "space.json",
        }
        overridden = [flag.lstrip("-").partition("=")[0] for flag in flags]
        arguments = [f"--{key}={value}" for key, value in given.items() if key not in overridden]
        return subprocess.run(
            [sys.executable, str(REPOSITORY / "scripts" / "run.py"), *arguments, *flags],
            capture_output=True,
            text=True,
            input=stdin,
            cwd=tmp_path,
            env={
                **{key: value for key, value in os.environ.items() if key != "LOCAL_RANK"},
                "PYTHONPATH": str(fake),
                "PATH": f"{smi}:{os.environ['PATH']}",
                "FAKE_HARNESS_REPORT": str(tmp_path / "report"),
                **environment,
            },
        )

    return start


def report(tmp_path, rank=""):
    return json.loads((tmp_path / f"report{rank}").read_text())


def test_auto_runs_the_harness_with_the_workloads_registered(run, tmp_path):
    done = run(
        "--rng_seed=5", "--rules=2026_4xA100", "--torch_compile=False", "--imagenet_v2_data_dir=/v2"
    )
    assert done.returncode == 0, done.stderr
    got = report(tmp_path)
    flags = got["flags"]
    assert flags["submission_path"] == "submissions/asgo/jax/submission.py"
    assert flags["data_dir"] == str(tmp_path / "data")
    assert flags["experiment_dir"] == str(tmp_path / "runs")
    assert (flags["rng_seed"], flags["rules"]) == (5, "2026_4xA100")
    assert (flags["torch_compile"], flags["imagenet_v2_data_dir"]) == (False, "/v2")
    assert got["path"][0] == str(REPOSITORY)
    assert got["stdin"] == ""  # nothing to answer questions with
    assert got["step_hint"] == 52000
    assert {"ogbg", "ogbg_small", "c4_small"} <= set(got["workloads"])
    assert (tmp_path / "runs" / "e" / "hardware_note_ogbg_jax.json").is_file()


def test_without_rules_budgets_are_the_harnesss_own(run, tmp_path):
    assert run().returncode == 0
    assert report(tmp_path)["step_hint"] == fake_algoperf.BUDGET["step_hint"]


def test_the_exit_status_is_the_harnesss(run):
    assert run(FAKE_HARNESS_STATUS="7").returncode == 7


def test_an_entry_elsewhere_is_importable(run, tmp_path):
    entry = tmp_path / "elsewhere" / "entry" / "submission.py"
    entry.parent.mkdir(parents=True)
    entry.touch()
    (entry.parent / "__init__.py").touch()
    assert run(f"--submission_path={entry}").returncode == 0
    got = report(tmp_path)
    assert got["path"] == [str(tmp_path / "elsewhere"), str(REPOSITORY)]
    assert got["flags"]["submission_path"] == "entry/submission.py"


def test_torchrun_starts_a_process_per_gpu(run, tmp_path):
    done = run("--framework=pytorch", gpus=[V100] * 3, CUDA_VISIBLE_DEVICES="2,0")
    assert done.returncode == 0, done.stderr
    assert [report(tmp_path, rank)["rank"] for rank in "01"] == ["0", "1"]
    assert not (tmp_path / "report2").exists()
    assert report(tmp_path, 1)["cuda"] == "2,0"
    note = json.loads((tmp_path / "runs" / "e" / "hardware_note_ogbg_pytorch.json").read_text())
    assert [gpu["name"] for gpu in note["found"]] == [V100[0]] * 2


def test_a_dry_run_needs_no_harness(run, tmp_path):
    done = run(
        "--harness=official", "--dry_run", "--framework=pytorch", "--num_gpus=8", PYTHONPATH=""
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert " -m torch.distributed.run " in line
    assert "--nproc_per_node=8" in line
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        (["--workload=x"], {}, "error: unknown workload 'x'; allowed: c4, c4_130m, c4_350m, c"),
        (["--harness=embedded"], {}, "error: --workload=ogbg is for --harness=official\n"),
        (["--harness=embedded", "--rules=v0.6_8xV100"], {}, "error: --rules is for --harness=off"),
        (["--harness=official", "--step_hint=3"], {}, "error: --step_hint is for --harness=embed"),
        (["--rules=v1"], {}, "error: flag --rules=v1: value should be one of <v0.6_8xV100|2026_4"),
        (["--num_gpus=1"], {}, "error: --num_gpus=1; allowed: 0 to 0, the GPUs visible here\n"),
        (["--tuning_ruleset=self"], {}, "error: --tuning_search_space=space.json: not allowed wi"),
        (["--harness=official"], {"LOCAL_RANK": "0"}, "error: --harness=official starts torchrun"),
    ],
)
def test_mistakes_are_told_in_one_line(run, tmp_path, flags, environment, told):
    done = run(*flags, **environment)
    assert done.returncode != 0
    assert done.stderr.splitlines(keepends=True)[-1].startswith(told)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()


def test_an_experiment_that_exists_is_neither_asked_about_nor_resumed(run, tmp_path):
    (tmp_path / "runs" / "e" / "ogbg_jax").mkdir(parents=True)
    done = run()
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/runs/e/ogbg_jax exists; give --overwrite")
    assert not (tmp_path / "report").exists()
    assert run("--overwrite").returncode == 0
    assert report(tmp_path)["flags"]["overwrite"] is True


@pytest.mark.official
@pytest.mark.slow
@pytest.mark.skipif(not HAS_HARNESS, reason="the official AlgoPerf harness is not installed")
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_real_harness_trains_a_small_workload_and_its_logs_are_scored(framework, tmp_path):
    data = REPOSITORY / "data"
    if not (data / "c4_small").is_dir():
        pytest.skip("needs scripts/prepare_data.py --workloads=c4_small")
    done = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "scripts" / "run.py"),
            "--harness=official",
            "--workload=c4_small",
            f"--framework={framework}",
            f"--submission_path=submissions/adamw/{framework}/submission.py",
            "--tuning_ruleset=self",
            f"--experiment_dir={tmp_path}/adamw",
            "--experiment_name=study_1",
            f"--data_dir={data}",
            "--rng_seed=1",
            "--max_global_steps=3",
            "--save_checkpoints=False",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    trial = tmp_path / "adamw" / "study_1" / f"c4_small_{framework}" / "trial_1"
    assert (trial / "eval_measurements.csv").read_text().count("\n") >= 2
    scored = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "scripts" / "score.py"),
            f"--submission_directory={tmp_path}",
            f"--output_dir={tmp_path}/report",
        ],
        capture_output=True,
        text=True,
    )
    assert scored.returncode == 0, scored.stderr
    (row,) = [line for line in scored.stdout.splitlines() if line.startswith("adamw")]
    assert row.split()[1:5] == ["c4_small", "0", "of", "1"]
