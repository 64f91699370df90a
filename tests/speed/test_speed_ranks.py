"""Ranks: what each is dealt, how they meet and wait for each other, what one that fails does."""

import json
import math
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist

from speed import race, ranks, worker
from speed.race import StepError
from speed.worker import Setup, refreshes_at_once


def shares(model: str, number: int, name: str = "soap", **changes) -> list[float]:
    setups = [
        Setup("pytorch", name, model, ranks=number, rank=rank, **changes) for rank in range(number)
    ]
    return [ranks.share(setup) for setup in setups]


def test_the_shares_of_equal_matrices():
    assert shares("5x4x3", 2) == pytest.approx([3 / 5, 2 / 5])
    assert shares("2x4x3", 3) == pytest.approx([1 / 2, 1 / 2, 0])


def test_shares_are_of_the_cost():
    """One matrix of 768 x 2304 and one of 256 x 256 are far from alike."""
    large, small = shares("ogbg", 2, "asgo")
    assert large + small == pytest.approx(1)
    assert 0.5 <= large < 0.6


def test_shares_follow_the_settings():
    """Only one side of a matrix fits into a smaller block; its cost is another."""
    assert shares("1x8x4", 2) == [1, 0]
    assert shares("1x8x4", 2, "caspr_adaptive", settings=(("block_size", 4),)) == [0.5, 0.5]


def test_no_refresh_no_share():
    assert all(map(math.isnan, shares("3x4x4", 2, "muon")))


def test_which_have_refreshes_that_ranks_share():
    assert refreshes_at_once("soap", {"stagger": False})
    assert not refreshes_at_once("soap", {"stagger": True})
    assert not refreshes_at_once("muon", {})
    assert not refreshes_at_once("soap_reference", {})
    assert not refreshes_at_once("torch_adamw_fused", {})


SETUP = Setup("pytorch", "soap", "3x6x4", refresh_every=2, periods=2, ranks=2)


def test_two_ranks_time_every_step():
    found = ranks.run(SETUP)
    assert [setup.rank for setup, _ in found] == [0, 1]
    for setup, measured in found:
        assert setup.ranks == 2
        assert (len(measured.plain_s), len(measured.refresh_s)) == (2, 2)


def test_a_rank_that_fails_ends_the_others_and_says_why(monkeypatch):
    """The second one does not know its optimizer; the first would wait for it."""
    started: list[subprocess.Popen[str]] = []

    def call(module, setup, *more):
        found = race_call(module, setup, *more)
        if setup.rank == 1:
            fields = json.loads(found["args"][3]) | {"contender": "sgd"}
            found["args"][3] = json.dumps(fields)
        return found

    def popen(**arguments):
        started.append(subprocess_popen(**arguments))
        return started[-1]

    race_call, subprocess_popen = race.call, subprocess.Popen
    monkeypatch.setattr(race, "call", call)
    monkeypatch.setattr(subprocess, "Popen", popen)
    start = time.monotonic()
    with pytest.raises(StepError) as error:
        ranks.run(SETUP)
    assert time.monotonic() - start < 60
    assert str(error.value) == "soap on 3x6x4 in 2 ranks: [rank1]: KeyError: 'sgd'"
    assert [process.wait(timeout=10) != 0 for process in started] == [True, True]


def test_a_rank_meets_the_others_and_waits_for_them_before_every_step(monkeypatch, capsys):
    told: list[object] = []
    for name in ("init_process_group", "barrier", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda *a, name=name, **k: told.append((name, a, k)))
    setup = {"framework": "pytorch", "contender": "soap", "model": "1x4x4", "refresh_every": 2}
    setup |= {"periods": 1, "ranks": 2, "rank": 1}
    monkeypatch.setattr(sys, "argv", ["worker", json.dumps(setup), "/folder/ranks"])
    threads = torch.get_num_threads()
    try:
        worker.main()
    finally:
        torch.set_num_threads(threads)
    assert set(json.loads(capsys.readouterr().out)) >= {"plain_s", "refresh_s"}
    joined, left = ("gloo", "file:///folder/ranks"), {"rank": 1, "world_size": 2}
    wait = ("barrier", (), {})
    assert told == [
        ("init_process_group", joined, left),
        *(wait, wait, wait),  # two steps, and the end
        ("destroy_process_group", (), {}),
    ]
