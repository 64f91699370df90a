"""scripts/run.py under torchrun, as a user runs it: two processes, one run."""

import ast
import json
import os
import signal
import subprocess
import time

import pandas as pd
import pytest
import torchrun
from fakes import repository
from fakes.repository import SUBMISSION

# The fake submission as one of several ranks, each of which writes down what it is given and
# averages gradients with the others. A rank may be slow, or fail.
RANKS_SUBMISSION = (
    SUBMISSION.replace("import time\n", "import os\nimport time\n\nimport torch\n", 1)
    .replace(
        "    time.sleep(",
        """    rank = os.environ.get("LOCAL_RANK", "0")
    with open(f"{os.environ['TRACE']}/{rank}", "a") as file:
        print([global_step, [int(word) for word in rng], dict(train_state)], file=file)
    if rank == os.environ.get("SLOW_RANK"):
        time.sleep(0.05)
    time.sleep(""",
    )
    .replace("if global_step + 1 ==", 'if rank == os.environ["BAD_RANK"] and global_step + 1 ==')
    .replace("    workload.metrics_logger.append", "    (workload.metrics_logger or Nobody).append")
    .replace(
        "    rate = getattr",
        """    if torch.distributed.is_initialized():
        shared = torch.as_tensor(gradient)
        torch.distributed.all_reduce(shared)
        gradient = shared.numpy() / torch.distributed.get_world_size()
    rate = getattr""",
    )
    + """

class Nobody:
    append_scalar_metrics = lambda *arguments: None
"""
)


class Bench:
    """The fake repository with that submission."""

    def __init__(self, root, tmp_path):
        folder = root / "submissions" / "fast" / "pytorch"
        folder.mkdir()
        (folder / "submission.py").write_text(RANKS_SUBMISSION)
        self.root = root
        self.trace = tmp_path / "trace"
        self.trace.mkdir()
        self.env = {"TRACE": str(self.trace), "BAD_RANK": "none"}
        self.trial = tmp_path / "experiments" / "e" / "quadratic_pytorch" / "trial_1"
        self.space = root / "tuning_search_spaces" / "fast.json"

    def argv(self, *flags, **workload):
        return [
            *repository.script(self.root, "run", **workload)[1:],
            "--workload=quadratic",
            "--framework=pytorch",
            "--submission_path=submissions/fast/pytorch/submission.py",
            f"--experiment_dir={self.trial.parents[2]}",
            "--experiment_name=e",
            f"--data_dir={self.root}/data",
            *(flags or [f"--tuning_search_space={self.space}"]),
        ]

    def run(self, *flags, processes=2, **workload):
        return torchrun.run(self.argv(*flags, **workload), processes, self.env)

    def traces(self):
        """What each rank was given, step by step."""
        files = sorted(self.trace.iterdir())
        return [[ast.literal_eval(line) for line in f.read_text().splitlines()] for f in files]

    def read(self, name):
        return json.loads((self.trial / name).read_text())


@pytest.fixture
def bench(fake_root, tmp_path):
    return Bench(fake_root, tmp_path)


FILES = [
    "eval_measurements.csv",
    "flags_0.json",
    "hparams.json",
    "measurements.csv",
    "meta_data_0.json",
    "result.json",
    "run.log",
]
UNREACHABLE = {"validation_target_value": 2.0, "test_target_value": 2.0}


def errors(stderr):
    """The lines of the script's own, without torchrun's report."""
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


def test_two_ranks_are_one_run_on_the_clock_of_the_slower(bench):
    """With a seed that is drawn and a budget that is spent, both ranks take the same steps."""
    bench.env["SLOW_RANK"] = "1"
    budget = {"max_allowed_runtime_sec": 1.0, "eval_period_time_sec": 0.3}
    status, stdout, stderr = bench.run(**budget, **UNREACHABLE)
    assert status == 0, stderr
    assert stdout.count("trial_1: budget at step") == 1
    assert sorted(path.name for path in bench.trial.iterdir()) == FILES
    first, second = bench.traces()
    assert first == second
    result = bench.read("result.json")
    assert [step for step, _, _ in first] == list(range(result["global_step"]))
    assert 1.0 <= result["accumulated_submission_time"] < 1.5
    assert result["global_step"] <= 1.5 / 0.05  # rank 0 alone would take hundreds of steps
    assert bench.read("meta_data_0.json")["num_devices"] == 2
    rows = pd.read_csv(bench.trial / "measurements.csv")
    assert rows["loss"].dropna().size == result["global_step"]  # rank 0's, once each
    evaluated = pd.read_csv(bench.trial / "eval_measurements.csv")["global_step"]
    assert evaluated.is_unique
    assert (bench.trial / "run.log").read_text().count("rng_seed: ") == 1

    status, stdout, stderr = bench.run(**budget, **UNREACHABLE)
    assert status == 0, stderr
    assert stdout.count("is finished and kept") == 1
    assert bench.traces() == [first, second]


def test_self_tuning_and_the_same_numbers_as_one_process(bench):
    flags = ["--tuning_ruleset=self", "--rng_seed=3", "--eval_every_steps=5"]
    flags += ["--max_global_steps=12"]
    status, _, stderr = bench.run(*flags, **UNREACHABLE)
    assert status == 0, stderr
    assert sorted(path.name for path in bench.trial.iterdir()) == [
        name for name in FILES if name != "hparams.json"
    ]
    columns = ["global_step", "train/loss", "validation/accuracy", "test/accuracy"]
    several = pd.read_csv(bench.trial / "eval_measurements.csv")[columns]
    alone = repository.script(bench.root, "run", **UNREACHABLE)[:1]
    command = [*alone, *bench.argv(*flags, "--overwrite", **UNREACHABLE)]
    subprocess.run(command, check=True, env=os.environ | bench.env, capture_output=True)
    pd.testing.assert_frame_equal(
        pd.read_csv(bench.trial / "eval_measurements.csv")[columns], several, check_exact=True
    )
    assert bench.read("meta_data_0.json")["num_devices"] == 1


@pytest.mark.parametrize(("rank", "told"), [(1, "rank 1: "), (0, "")])
def test_an_error_on_one_rank_ends_all(bench, rank, told):
    """The other rank waits in a collective; a run that follows sets the failed one aside."""
    bench.env["BAD_RANK"] = str(rank)
    bench.space.write_text(
        '[{"learning_rate": 0.1, "fail_at": 3}, {"learning_rate": 0.2, "fail_at": 0}]'
    )
    flags = [f"--tuning_search_space={bench.space}", "--num_tuning_trials=2"]
    start = time.monotonic()
    status, stdout, stderr = bench.run(*flags)
    assert time.monotonic() - start < 60
    assert status == 1
    message = f"{told}FloatingPointError: the loss is not finite"
    assert errors(stderr) == [f"error: {message}"]
    assert stdout.count("trial_1: error at step 2") == 1
    assert "Traceback" not in stderr.partition("ChildFailedError")[0].partition("error: ")[0]
    assert sorted(path.name for path in bench.trial.iterdir()) == FILES
    result = bench.read("result.json")
    assert (result["reason"], result["message"], result["global_step"]) == ("error", message, 2)
    log = (bench.trial / "run.log").read_text()
    assert "Traceback" in log
    assert "submission.py" in log
    assert not bench.trial.with_name("trial_2").exists()
    if rank == 0:
        return  # what follows is the same

    bench.env["BAD_RANK"] = "none"
    status, stdout, stderr = bench.run(*flags)
    assert status == 0, stderr
    assert stdout.count("an unfinished run was set aside") == 1
    assert bench.read("result.json")["reason"] == "targets_reached"
    assert bench.trial.with_name("trial_2").exists()


@pytest.mark.parametrize(
    ("processes", "flag", "told"),
    [
        (2, "--seed=1", "Unknown command line flag 'seed'"),
        (
            3,
            "--tuning_ruleset=self",
            "submissions/fast/pytorch/submission.py: the global batch size (8) has to be divisible "
            "by the number of devices (3)",
        ),
    ],
)
def test_mistakes_that_all_ranks_find_are_told_once(bench, processes, flag, told):
    status, stdout, stderr = bench.run(flag, processes=processes)
    assert status == 1  # torchrun's
    assert len(errors(stderr)) == 1
    assert errors(stderr)[0].startswith(f"error: {told}")
    assert stdout == ""
    assert not bench.trial.exists()


def test_a_mistake_that_rank_0_alone_finds_is_told_once(bench):
    bench.trial.mkdir(parents=True)
    (bench.trial / "result.json").write_text(
        '{"status": "finished", "reason": "budget", "message": "", "global_step": 1, '
        '"accumulated_submission_time": 1.0, "compile_time": 0.0}'
    )
    status, _, stderr = bench.run("--tuning_ruleset=self")
    assert status == 1
    assert len(errors(stderr)) == 1
    assert "holds a finished run with" in errors(stderr)[0]
    assert not list(bench.trace.iterdir())


def test_ctrl_c(bench):
    bench.space.write_text('[{"learning_rate": 0.001, "delay": 0.02}]')
    process = torchrun.start(bench.argv(), env=bench.env, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(bench.trace.iterdir())) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status, _, stderr = torchrun.finish(process, timeout=30)
    assert status != 0
    assert stderr.count("interrupted: the same command keeps what is finished and goes on") == 1
    assert errors(stderr) == []
    assert not (bench.trial / "result.json").exists()
    assert (bench.trial / "eval_measurements.csv").exists()
