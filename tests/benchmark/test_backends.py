"""Waiting and compile seconds, with the real frameworks."""

import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algoperf_api import random_utils
from benchmark import backend
from benchmark.backend import UnionOfIntervals

ROOT = Path(backend.__file__).parent.parent


def test_jax_counts_compilation_once_and_execution_never():
    jax_backend = backend.load("jax")

    @jax.jit
    def step(x):
        for _ in range(20):
            x = jnp.tanh(x @ x) + jax.jit(lambda y: jnp.sin(y) + 1)(x)  # nested traces
        return x

    x = jnp.ones((50, 50)) / 50
    before, start = jax_backend.compile_seconds(), time.perf_counter()
    step(x).block_until_ready()
    first, wall = jax_backend.compile_seconds() - before, time.perf_counter() - start
    assert 0 < first <= wall  # nested traces would count twice

    before = jax_backend.compile_seconds()
    for _ in range(3):
        step(x).block_until_ready()
    assert jax_backend.compile_seconds() == before


def test_jax_waits_for_every_array_of_a_tree():
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 40, lambda _, y: y @ x, x))
    x = jnp.eye(400)
    slow(x).block_until_ready()
    state = ({"count": 3, "array": slow(x)}, print, np.zeros(2), None)
    backend.load("jax").wait(state)
    assert state[0]["array"].is_ready()


def test_jax_random_state_is_algoperfs():
    backend.load("jax")
    assert jax.config.jax_default_prng_impl == "threefry2x32"
    assert jax.config.jax_threefry_partitionable


def test_there_is_one_backend_per_process():
    assert backend.load("jax") is backend.load("jax")
    assert isinstance(backend.load("pytorch").random, random_utils.NumpyRandom)


def test_torch_counts_torch_compile():
    torch_backend = backend.load("pytorch")
    before = torch_backend.compile_seconds()
    start = time.perf_counter()
    compiled = torch.compile(lambda x: torch.sin(x) + 1, backend="eager")
    torch_backend.wait(compiled(torch.ones(3)))
    wall = time.perf_counter() - start
    spent = torch_backend.compile_seconds() - before
    assert 0 < spent <= wall
    compiled(torch.zeros(3))
    assert torch_backend.compile_seconds() - before == spent


def test_torch_without_compilation_counts_nothing_and_imports_neither_dynamo_nor_jax():
    code = """
import sys
from benchmark import backend
import torch
torch_backend = backend.load("pytorch")
torch_backend.wait(torch.ones(3) + 1)
assert torch_backend.compile_seconds() == 0.0
assert "torch._dynamo" not in sys.modules and "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_torch_2_5_has_no_total_before_anything_is_compiled(monkeypatch):
    spent = {}
    dynamo = types.SimpleNamespace(calculate_time_spent=lambda: spent)
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", dynamo)
    assert backend.load("pytorch").compile_seconds() == 0.0
    spent["total_wall_time"] = 1.5
    assert backend.load("pytorch").compile_seconds() == 1.5


def test_devices_are_jaxs_or_torchruns_processes(monkeypatch):
    assert backend.load("jax").num_devices == jax.device_count()
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert backend.load("pytorch").num_devices == 1
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert backend.load("pytorch").num_devices == 4


def test_the_runner_imports_no_framework_by_itself():
    code = """
import sys
import benchmark.run, benchmark.compare, benchmark.target_setting
assert not {"jax", "torch", "flax", "submissions", "matprec"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda se: (se[0], se[0] + se[1])),
        max_size=12,
    )
)
def test_union_of_intervals_in_the_order_of_their_ends(intervals):
    union = UnionOfIntervals()
    for start, end in sorted(intervals, key=lambda interval: interval[1]):
        union.add(start, end)
    covered = {unit for start, end in intervals for unit in range(start, end)}
    assert union.length == len(covered)


def test_nested_intervals_count_once():
    union = UnionOfIntervals()
    for start, end in [(1.0, 2.0), (3.0, 4.0), (0.5, 5.0), (7.0, 8.0)]:
        union.add(start, end)
    assert union.length == pytest.approx(5.5)


def test_the_peak_of_main_memory_where_there_is_no_gpu():
    """In a process of its own: this one's peak may lie far above what a test should allocate."""
    code = """
import numpy as np
from benchmark import backend

backends = [backend.load(name) for name in ("jax", "pytorch")]
before = [used.peak_memory_bytes() for used in backends]
assert before[0] == before[1] > 2**26, before
block = np.ones(before[0] // 8 + 2**23)  # bytes: as many as there were, and 64 MiB
for used in backends:
    assert used.peak_memory_bytes() >= before[0] + 2**26
held = used.peak_memory_bytes()
del block
assert used.peak_memory_bytes() == held
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_peak_of_the_fullest_gpu(monkeypatch):
    stats = [{"peak_bytes_in_use": 5}, {"peak_bytes_in_use": 7}, {}]
    devices = [types.SimpleNamespace(memory_stats=lambda found=found: found) for found in stats]
    monkeypatch.setattr(backend.load("jax"), "_local_devices", lambda: devices)
    assert backend.load("jax").peak_memory_bytes() == 7
    cuda = types.SimpleNamespace(is_available=lambda: True, max_memory_allocated=lambda: 9)
    monkeypatch.setattr(backend.load("pytorch"), "_torch", types.SimpleNamespace(cuda=cuda))
    assert backend.load("pytorch").peak_memory_bytes() == 9
