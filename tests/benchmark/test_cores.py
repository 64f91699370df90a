"""Pinning is tried in a process of its own: it cannot be undone in this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import cores
from benchmark.errors import UserError

ROOT = Path(cores.__file__).parent.parent


def test_available_are_the_cores_of_this_process():
    assert cores.available() == sorted(os.sched_getaffinity(0))


def test_pin_keeps_the_process_and_its_libraries_to_one_core():
    core = cores.available()[-1]
    code = f"""
import json, os
from benchmark import cores
cores.pin({core})
import torch
from benchmark import backend
backend.use_one_thread("pytorch")
print(json.dumps([cores.available(), os.environ["OMP_NUM_THREADS"], torch.get_num_threads()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[core], "1", 1]


def test_a_core_that_is_not_there_is_refused_and_the_allowed_ones_named():
    with pytest.raises(UserError, match=r"--cpu_core=9999: not a core.*allowed: \d"):
        cores.pin(9999)


def test_a_system_without_pinning_sets_nothing_and_says_so(monkeypatch, caplog):
    assert cores.used() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert len(cores.available()) == os.cpu_count()
    before = dict(os.environ)
    cores.pin(0)
    assert dict(os.environ) == before
    assert cores.used() is None
    (record,) = caplog.records
    assert record.getMessage().startswith("--cpu_core=0: this system cannot keep")
    with pytest.raises(UserError, match="--cpu_core=9999: not a core"):
        cores.pin(9999)
