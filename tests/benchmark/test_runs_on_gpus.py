"""Runs on a machine with GPUs: one at a time on all of them, and the parent leaves them alone."""

import dataclasses
import json
import os
import sys
import types

import pytest
from fakes import repository
from fakes.quadratic import QuadraticWorkload
from fakes.reports import RecordingReporter

from benchmark import children, cores, metadata, runs, torchrun
from benchmark.hardware import Gpu
from benchmark.runs import Place, PlannedRun
from workloads_overrides import SMALL_WORKLOADS


@pytest.fixture
def options(fake_root, tmp_path):
    return repository.options(fake_root, tmp_path, framework="pytorch", eval_every_steps=5)


@pytest.fixture
def recorded(monkeypatch):
    found = []
    monkeypatch.setattr(
        children, "run_all", lambda jobs, slots, _: found.append((list(jobs), slots)) or {}
    )
    return found


def planned(options, tmp_path) -> list[PlannedRun]:
    return [
        PlannedRun(f"run {number}", options, tmp_path / str(number), False) for number in (1, 2)
    ]


def test_on_gpus_one_run_at_a_time_and_on_no_core_of_its_own(
    options, fake_root, tmp_path, recorded
):
    place = dataclasses.replace(repository.place(fake_root), count_gpus=lambda *_: 4)
    reporter = RecordingReporter()
    assert runs.execute(planned(options, tmp_path), 2, reporter, place) == {}
    ((jobs, slots),) = recorded
    assert slots == [None]
    assert len(jobs) == 2
    assert "one run at a time, on 4 GPUs" in reporter.notes


def test_without_gpus_each_has_a_core(options, fake_root, tmp_path, recorded):
    place = dataclasses.replace(repository.place(fake_root), count_gpus=lambda *_: 0)
    runs.execute(planned(options, tmp_path), 1, RecordingReporter(), place)
    assert recorded[0][1] == cores.available()[:1]


@pytest.mark.parametrize(
    ("framework", "num_gpus", "processes"),
    [("pytorch", 4, 4), ("pytorch", 1, None), ("pytorch", 0, None), ("jax", 4, None)],
)
def test_pytorch_has_a_process_per_gpu_and_jax_one_for_all(
    options, framework, num_gpus, processes, tmp_path
):
    place = Place(tmp_path, ("python", "run.py"), lambda *_: num_gpus)
    asked = dataclasses.replace(options, framework=framework)
    command = place.command(asked)
    started = [] if processes is None else torchrun.arguments(processes)
    assert command == ("python", *started, "run.py", *asked.arguments())
    assert (f"--nproc_per_node={processes}" in command) == (processes is not None)


def test_the_planning_process_keeps_jax_to_the_cpu(monkeypatch):
    told = []
    config = types.SimpleNamespace(update=lambda *values: told.append(values))
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(config=config))
    place = Place(count_gpus=lambda workload, _: 2 if workload == "c4" else 0)
    place.plan_only("c4_small", "jax")
    place.plan_only("c4", "pytorch")
    assert told == []
    place.plan_only("c4", "jax")
    assert told == [("jax_platforms", "cpu")]


GPUS = (Gpu("0", "GPU-a", "NVIDIA A100-SXM4-40GB", 39.4), Gpu("1", "GPU-b", "NVIDIA A100", 39.4))


def test_small_workloads_are_for_one_core_wherever_they_run(monkeypatch):
    monkeypatch.setattr(runs, "gpus_for", lambda framework: GPUS * (framework == "jax"))
    assert [runs.count_gpus(name, "jax") for name in SMALL_WORKLOADS] == [0] * 5
    assert runs.count_gpus("c4_60m", "jax") == Place().count_gpus("c4_60m", "jax") == 2
    assert runs.count_gpus("c4_60m", "pytorch") == 0


def test_runs_of_both_kinds_in_one_call(options, fake_root, tmp_path, recorded):
    place = dataclasses.replace(
        repository.place(fake_root), count_gpus=lambda workload, _: 2 * (workload == "c4")
    )
    large, small = planned(options, tmp_path)
    large = dataclasses.replace(large, options=dataclasses.replace(options, workload="c4"))
    assert runs.execute([small, large], 1, RecordingReporter(), place) == {}
    assert [[job.label for job in jobs] for jobs, _ in recorded] == [["run 1"], ["run 2"]]
    assert [slots for _, slots in recorded] == [[None], cores.available()[:1]]


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_meta_data_name_the_gpus_that_a_run_computes_on(monkeypatch, framework):
    monkeypatch.setattr(metadata, "visible_gpus", lambda: list(GPUS))
    found = metadata.collect(QuadraticWorkload(), framework, 1)
    assert not [name for name in found if name.startswith("gpu_")]  # here frameworks have none
    used = types.SimpleNamespace(on_gpu=True, num_devices=2)
    monkeypatch.setattr(metadata.backend, "load", lambda _: used)
    found = metadata.collect(QuadraticWorkload(), framework, 1)
    assert (found["gpu_model_name"], found["gpu_count"]) == ("NVIDIA A100-SXM4-40GB", 2)


def test_two_processes_of_a_run_are_one_trial(options, fake_root, tmp_path):
    """As with two GPUs, but of ranks on the CPU; a child that the parent pins to no core."""
    folder = fake_root / "submissions" / "fast" / "pytorch"
    folder.mkdir(parents=True)
    logged = "workload.metrics_logger.append"  # rank 0 alone has a logger
    text = repository.SUBMISSION.replace(logged, f"workload.metrics_logger and {logged}")
    (folder / "submission.py").write_text(text)
    place = dataclasses.replace(repository.place(fake_root), count_gpus=lambda *_: 2)
    reporter = RecordingReporter()
    todo = runs.plan_runs(options, "fast", place)
    assert runs.execute(todo, 1, reporter, place) == {}
    flags = json.loads((todo[0].folder / "flags_0.json").read_text())
    meta = json.loads((todo[0].folder / "meta_data_0.json").read_text())
    assert flags["cpu_core"] is None
    assert meta["num_devices"] == 2
    assert json.loads((todo[0].folder / "result.json").read_text())["reason"] == "targets_reached"
    assert [label for label, _ in reporter.ends] == ["data", "fast"]
    assert "LOCAL_RANK" not in os.environ
