"""GPUs as a fake nvidia-smi tells them, against a rule set's."""

import subprocess
import sys

import pytest
from fake_algoperf import smi_lines, write_nvidia_smi

from benchmark.hardware import Gpu, describe, gpus_for, matches, visible_gpus
from workloads_overrides.budgets import load

V100, A100 = ("Tesla V100-SXM2-16GB", 16160), ("NVIDIA A100-SXM4-40GB", 40536)
A100_80 = ("NVIDIA A100-SXM4-80GB", 81920)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Gives the machine GPUs."""

    def give(*gpus, status=0, lines=None):
        text = smi_lines(*gpus) if lines is None else lines
        monkeypatch.setenv("PATH", f"{write_nvidia_smi(tmp_path, text, status)}:/bin:/usr/bin")

    return give


def test_gpus_with_their_names_and_memory(machine):
    machine(V100, A100)
    first, second = visible_gpus({})
    assert first == Gpu("0", "GPU-0a0b", "Tesla V100-SXM2-16GB", 16160 / 1024)
    assert (second.index, second.name) == ("1", "NVIDIA A100-SXM4-40GB")


def test_no_driver_and_a_driver_that_fails(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == []
    machine(lines="NVIDIA-SMI has failed", status=9)
    assert visible_gpus({}) == []
    machine(lines="No devices were found")
    assert visible_gpus({}) == []


@pytest.mark.parametrize(
    ("answer", "names"), [("True", ["0", "1"]), ("False", []), ("", [])], ids=str
)
def test_gpus_count_where_the_framework_computes_on_them(machine, monkeypatch, answer, names):
    machine(V100, A100)
    asked = []
    start = subprocess.run

    def run(command, **options):
        if command[0] != sys.executable:
            return start(command, **options)
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 0, f"{answer}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    gpus_for.cache_clear()
    assert [gpu.index for gpu in gpus_for("jax")] == names
    assert [gpu.index for gpu in gpus_for("jax")] == names
    assert len(asked) == 1  # it takes seconds
    gpus_for.cache_clear()


def test_builds_for_cpus_compute_on_none(machine):
    machine(V100, A100)
    gpus_for.cache_clear()
    assert gpus_for("pytorch") == gpus_for("jax") == ()
    gpus_for.cache_clear()


def test_without_gpus_no_framework_is_asked(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/nowhere")
    gpus_for.cache_clear()
    assert gpus_for("jax") == ()
    gpus_for.cache_clear()


def test_memory_that_the_driver_does_not_tell(machine):
    machine(lines="0, GPU-1, NVIDIA GB10, [N/A]")
    (gpu,) = visible_gpus({})
    assert gpu.memory_gib == 0.0


@pytest.mark.parametrize(
    ("variable", "seen"),
    [
        ("0,1,2", "012"),
        ("2, 0", "20"),
        ("GPU-1a", "1"),
        ("", ""),
        ("-1", ""),
        ("1,7,0", "1"),  # CUDA stops at the first that does not exist
        ("NoDevFiles", ""),
    ],
)
def test_cuda_visible_devices(machine, variable, seen):
    machine(V100, V100, V100)
    found = visible_gpus({"CUDA_VISIBLE_DEVICES": variable})
    assert "".join(gpu.index for gpu in found) == seen


@pytest.mark.parametrize(
    ("gpus", "rules", "right"),
    [
        ([V100] * 8, "v0.6_8xV100", True),
        ([("Tesla V100-SXM2-32GB", 32510)] * 8, "v0.6_8xV100", False),
        ([V100] * 7, "v0.6_8xV100", False),
        ([], "v0.6_8xV100", False),
        ([A100] * 4, "2026_4xA100", True),
        ([A100_80] * 4, "2026_4xA100", False),
        ([A100] * 3 + [A100_80], "2026_4xA100", False),
        ([A100] * 8, "2026_4xA100", False),
        ([A100] * 4, "v0.6_8xV100", False),
        ([("NVIDIA H100 PCIe", 40536)] * 4, "2026_4xA100", False),
    ],
)
def test_matches(machine, gpus, rules, right):
    machine(*gpus)
    assert matches(visible_gpus({}), load(rules).hardware) is right


def test_describe(machine):
    machine(A100, A100_80, A100)
    told = describe(visible_gpus({}))
    assert told == "2x NVIDIA A100-SXM4-40GB (40 GiB), 1x NVIDIA A100-SXM4-80GB (80 GiB)"
    assert describe([]) == "no GPU"
