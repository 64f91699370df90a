"""One process, and what a rank does, in this process; `test_torchrun_runs` has real ranks."""

import json
import os
import socket
import subprocess
import threading
import time

import pytest
from fakes import repository

from benchmark import ranks
from benchmark.errors import UserError
from benchmark.ranks import Alone, TorchRanks, join


def launched(monkeypatch, rank=0, size=1, local_size=None):
    """The environment that torchrun gives a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"LOCAL_RANK": rank, "RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    values |= {"LOCAL_WORLD_SIZE": local_size or size, "MASTER_ADDR": "127.0.0.1"}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def group(monkeypatch):
    """A real group of one rank."""
    launched(monkeypatch)
    made = TorchRanks()
    yield made
    made.leave()


def refuse():
    raise UserError("refused")


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # as a scheduler may set it
    assert ranks.count() == 1
    with join("pytorch") as alone:
        assert isinstance(alone, Alone)
        assert alone.now is time.time
        assert alone.from_first(lambda: 5) == alone.together(lambda: 5) == 5
        for ask in (alone.from_first, alone.together):
            with pytest.raises(UserError, match="refused"):
                ask(refuse)
        with alone.watch(lambda *_: None):
            alone.fail("message", "traceback")
        assert alone.first
        assert not alone.parted  # the next trial can run


@pytest.mark.parametrize(
    ("framework", "size", "local_size", "told"),
    [
        ("jax", 2, 2, "--framework=jax under torchrun with 2 processes; allowed there: pytorch"),
        ("pytorch", 4, 2, "torchrun has started 4 processes, 2 here"),
    ],
)
def test_what_torchrun_may_not_start(monkeypatch, framework, size, local_size, told):
    launched(monkeypatch, 0, size, local_size)
    with pytest.raises(UserError, match=told), join(framework):
        pass


def test_jax_in_one_process_of_torchrun(monkeypatch):
    launched(monkeypatch)
    with join("jax") as alone:
        assert isinstance(alone, Alone)


def test_more_processes_than_gpus(monkeypatch):
    import torch

    from algoperf_api import pytorch_utils

    launched(monkeypatch, size=3)
    cuda = torch.device("cuda:0")
    monkeypatch.setattr(pytorch_utils, "pytorch_setup", lambda: (True, 0, cuda, 2))
    with pytest.raises(UserError, match="torchrun has started 3 processes for 2 GPUs"):
        TorchRanks()


def test_a_group_decides_and_reads_its_clock(group):
    assert group.first
    assert group.from_first(lambda: {"seed": 2**31}) == {"seed": 2**31}
    assert group.together(lambda: "plan") == "plan"
    for ask in (group.from_first, group.together):
        with pytest.raises(UserError, match="refused"):
            ask(refuse)
    before = time.time()
    assert before <= group.now() <= time.time()  # not rounded to single precision


def test_the_group_ends_with_the_body_and_can_be_made_again(monkeypatch):
    import torch.distributed as dist

    for error in (None, UserError("a mistake")):
        launched(monkeypatch)
        try:
            with join("pytorch"):
                assert dist.is_initialized()
                if error is not None:
                    raise error
        except UserError:
            assert error is not None
        assert not dist.is_initialized()


def test_after_an_error_of_rank_0_nobody_waits_for_the_others(monkeypatch):
    import torch.distributed as dist

    launched(monkeypatch)
    with join("pytorch") as group:
        group.fail("message", "traceback")
        assert group.parted
    assert dist.is_initialized()  # leaving is a collective in some backends
    dist.destroy_process_group()


@pytest.fixture
def ended(monkeypatch):
    """What `os._exit` is called with."""
    statuses = []
    monkeypatch.setattr(ranks.os, "_exit", statuses.append)
    return statuses


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_another_rank_ends_rank_0_while_it_waits(group, ended, monkeypatch):
    told, done = [], threading.Event()

    def end(*message):
        told.append(message)
        done.set()
        raise OSError("the disk is full")  # the process ends all the same

    other = TorchRanks.__new__(TorchRanks)
    vars(other).update(vars(group), rank=1, first=False)
    waited = []
    monkeypatch.setattr(ranks.time, "sleep", waited.append)
    with group.watch(end):
        with pytest.raises(SystemExit) as caught:
            other.fail("ValueError: bad", "the traceback")
        assert caught.value.code == 1
        assert waited[0] > 10  # so that rank 0 has time, and torchrun blames it
        with pytest.raises(SystemExit):
            other.fail("KeyError: a later one", "")
        assert done.wait(10)
    assert told == [("rank 1: ValueError: bad", "the traceback")]
    assert ended == [1]
    assert other.parted


def test_an_error_that_comes_when_the_body_has_ended_is_left_alone(group, ended):
    told = []
    with group.watch(lambda *message: told.append(message)):
        pass
    group._store.compare_set("error", "", json.dumps(["too late", ""]))
    time.sleep(3 * ranks._WATCH_PERIOD_SEC)
    assert told == ended == []


def test_other_ranks_watch_nothing(group, ended):
    group.first = False
    threads = threading.active_count()
    with group.watch(lambda *_: None):
        assert threading.active_count() == threads


def test_batch_size_and_jax_devices(fake_root, tmp_path):
    """One line, as for ranks."""
    command = [
        *repository.script(fake_root, "run"),
        "--workload=quadratic",
        "--framework=jax",
        "--submission_path=submissions/fast/jax/submission.py",
        "--tuning_ruleset=self",
        f"--experiment_dir={tmp_path}/experiments",
        "--experiment_name=e",
        f"--data_dir={fake_root}/data",
    ]
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "3", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert done.stderr == (
        "error: submissions/fast/jax/submission.py: the global batch size (8) has to be divisible "
        "by the number of devices (3)\n"
    )
    assert not (tmp_path / "experiments").exists()
