"""The command for the harness: its flags, its environment, and what is refused beforehand."""

import sys
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.hardware import Gpu
from benchmark.official.command import Request, build
from benchmark.submission import REPOSITORY

SUBMISSION = "submissions/asgo/{}/submission.py"
GPUS = [Gpu(str(i), f"GPU-{i}a", "NVIDIA A100-SXM4-40GB", 39.6) for i in range(4)]


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    """A request with an empty experiment folder below the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.json").write_text("[{}]")

    def make(framework="jax", **changes):
        given = {
            "workload": "ogbg_small",
            "framework": framework,
            "submission_path": SUBMISSION.format(framework),
            "experiment_dir": "runs",
            "experiment_name": "asgo/study_1",
            "tuning_search_space": "space.json",
        }
        return Request(**{**given, **changes})

    return make


def flags_of(command):
    start = command.argv.index(str(REPOSITORY / "benchmark" / "official" / "launch.py"))
    return command.argv[start + 1 :]


def test_a_plain_command(request_of, tmp_path):
    command = build(request_of())
    assert command.argv[:2] == [sys.executable, f"{REPOSITORY}/benchmark/official/launch.py"]
    assert flags_of(command) == [
        "--workload=ogbg_small",
        "--framework=jax",
        "--submission_path=submissions/asgo/jax/submission.py",
        "--tuning_ruleset=external",
        f"--tuning_search_space={tmp_path}/space.json",
        f"--data_dir={tmp_path}/data",
        f"--experiment_dir={tmp_path}/runs",
        "--experiment_name=asgo/study_1",
        "--num_tuning_trials=1",
    ]
    assert command.environment == {}
    assert command.notes == []


def test_every_flag_is_handed_on(request_of):
    given = {
        "hparam_start_index": 0,
        "hparam_end_index": 2,
        "num_tuning_trials": 3,
        "rng_seed": 7,
        "max_global_steps": 30,
        "rules": "v0.6_8xV100",
    }
    extra = ["--imagenet_v2_data_dir=/v2", "--save_checkpoints=False"]
    command = build(request_of(overwrite=True, harness_args=extra, **given))
    flags = flags_of(command)
    assert {f"--{name}={value}" for name, value in given.items()} <= set(flags)
    assert flags[-3:] == ["--overwrite", *extra]


def test_home_is_expanded(request_of, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    flags = flags_of(build(request_of(data_dir="~/d", experiment_dir="~/e")))
    assert "--data_dir=/home/somebody/d" in flags
    assert "--experiment_dir=/home/somebody/e" in flags


def test_several_gpus_in_pytorch_are_torchruns(request_of):
    command = build(request_of("pytorch", gpus=GPUS))
    assert command.argv[1:8] == [
        "-m",
        "torch.distributed.run",
        "--redirects=1:0,2:0,3:0",
        "--standalone",
        "--nnodes=1",
        "--nproc_per_node=4",
        f"{REPOSITORY}/benchmark/official/launch.py",
    ]
    assert command.environment == {}
    assert "--notorch_compile" not in command.argv


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_fewer_gpus_than_there_are_hide_the_others(request_of, framework):
    command = build(request_of(framework, gpus=GPUS, num_gpus=2))
    assert command.environment == {"CUDA_VISIBLE_DEVICES": "GPU-0a,GPU-1a"}
    assert ("torch.distributed.run" in command.argv) == (framework == "pytorch")
    assert str(command).startswith(f"CUDA_VISIBLE_DEVICES=GPU-0a,GPU-1a {sys.executable} ")


def test_one_gpu_needs_no_torchrun(request_of):
    command = build(request_of("pytorch", gpus=GPUS, num_gpus=1))
    assert "torch.distributed.run" not in command.argv
    assert command.environment == {"CUDA_VISIBLE_DEVICES": "GPU-0a"}


def test_no_gpu_of_several(request_of):
    jax = build(request_of("jax", gpus=GPUS, num_gpus=0))
    assert jax.environment == {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    torch = build(request_of("pytorch", gpus=GPUS, num_gpus=0))
    assert torch.environment == {"CUDA_VISIBLE_DEVICES": ""}
    assert "--notorch_compile" in torch.argv


def test_jax_uses_all_gpus_in_one_process(request_of):
    command = build(request_of("jax", gpus=GPUS))
    assert command.argv == build(request_of("jax")).argv
    assert command.environment == {}


@pytest.mark.parametrize(
    ("extra", "added"),
    [
        ([], True),
        (["--torch_compile=True"], False),
        (["--notorch_compile"], False),
        (["--save_checkpoints=False"], True),
    ],
)
def test_nothing_is_compiled_on_a_cpu_unless_asked_for(request_of, extra, added):
    command = build(request_of("pytorch", harness_args=extra))
    assert flags_of(command)[-1 - len(extra) :] == (
        ["--notorch_compile", *extra] if added else ["--num_tuning_trials=1", *extra]
    )
    assert any("--notorch_compile" in note for note in command.notes) == added


def test_seed_0_and_resuming_in_jax_are_noted(request_of):
    (note,) = build(request_of(rng_seed=0)).notes
    assert note.startswith("--rng_seed=0: the harness takes 0 for no seed")
    resume = ["--resume_last_run"]
    (note,) = build(request_of(harness_args=resume)).notes
    assert note.startswith("--resume_last_run: resuming fails in JAX")
    torch = request_of("pytorch", harness_args=[*resume, "--notorch_compile"])
    assert build(torch).notes == []


def test_the_command_can_be_typed_in_a_shell(request_of):
    text = str(build(request_of(harness_args=["--x=a b"])))
    assert text.endswith(" '--x=a b'")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tuning_search_space": None}, "--tuning_ruleset=external needs --tuning_search_space"),
        ({"tuning_ruleset": "self"}, "--tuning_search_space=space.json: not allowed with --tuning"),
        ({"tuning_search_space": "x.json"}, "--tuning_search_space=x.json: no such file"),
        ({"num_tuning_trials": 0}, "--num_tuning_trials=0; allowed: >= 1"),
        ({"max_global_steps": -3}, "--max_global_steps=-3; allowed: >= 1"),
        ({"rng_seed": 2**32}, "--rng_seed=4294967296; allowed: 0 to 2**32 - 1"),
        ({"num_gpus": 1}, "--num_gpus=1; allowed: 0 to 0, the GPUs visible here"),
        ({"num_gpus": 5, "gpus": GPUS}, "--num_gpus=5; allowed: 0 to 4, the GPUs visible here"),
        ({"num_gpus": -1, "dry_run": True}, "--num_gpus=-1; allowed: 0 to 0"),
        ({"submission_path": "submissions/x.py"}, "--submission_path=submissions/x.py: no such f"),
    ],
)
def test_what_is_refused(request_of, changes, told):
    with pytest.raises(UserError) as caught:
        build(request_of(**changes))
    assert str(caught.value).startswith(told)


def test_a_dry_run_may_ask_for_gpus_that_are_not_there(request_of):
    command = build(request_of("pytorch", num_gpus=8, dry_run=True))
    assert "--redirects=1:0,2:0,3:0,4:0,5:0,6:0,7:0" in command.argv
    assert "--nproc_per_node=8" in command.argv


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_harness_is_never_let_ask_about_a_folder(request_of, framework):
    request = request_of(framework)
    folder = Path.cwd() / "runs" / "asgo" / "study_1" / f"ogbg_small_{framework}"
    assert request.workload_folder == folder
    folder.mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        build(request)
    assert str(caught.value).startswith(f"{folder} exists; give --overwrite")
    assert ("fails in JAX" in str(caught.value)) == (framework == "jax")
    for allowed in (
        {"overwrite": True},
        {"harness_args": ["--resume_last_run"]},
        {"harness_args": ["--append_timestamp"]},
        {"dry_run": True},
        {"experiment_name": "asgo/study_2"},
    ):
        build(request_of(framework, **allowed))
    with pytest.raises(UserError, match="exists"):
        build(request_of(framework, harness_args=["--resume_last_run=False"]))
