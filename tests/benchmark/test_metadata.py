"""meta_data_k.json: AlgoPerf's keys and ours."""

import json
import subprocess

import psutil
from fakes.quadratic import QuadraticWorkload

from benchmark import cores, metadata


def test_workload_properties_are_the_public_primitives():
    properties = metadata.workload_properties(QuadraticWorkload(step_hint=77))
    assert properties["workload.step_hint"] == 77
    assert properties["workload.target_metric_name"] == "accuracy"
    assert properties["workload.validation_target_value"] == 0.9
    assert "workload.train_mean" not in properties  # raises NotImplementedError
    assert "workload.param_shapes" not in properties
    assert not [name for name in properties if name.startswith("workload._")]


def test_collect_has_what_algoperf_logs_and_ours():
    collected = metadata.collect(QuadraticWorkload(), "jax", 5)
    assert json.loads(json.dumps(collected)) == collected
    assert collected["rng_seed"] == 5
    assert collected["framework"] == "jax"
    assert collected["cpu_cores_used"] == len(cores.available())
    assert collected["cpu_count"] == psutil.cpu_count()
    assert set(collected["versions"]) >= {"jax", "flax", "optax", "torch", "numpy"}
    for name in ("os_platform", "python_version", "cpu_model_name", "mem.total"):
        assert collected[name]


def test_versions_leave_out_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(metadata, "_PACKAGES", ("numpy", "no-such-package"))
    assert list(metadata.versions()) == ["numpy"]


def git(folder, *args):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


def test_git_facts(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert metadata._git() == {}

    git(tmp_path, "init", "-b", "trunk")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    facts = metadata._git()
    assert facts["git_branch"] == "trunk"
    assert len(facts["git_commit_hash"]) == 40
    assert facts["git_uncommitted_changes"] is False

    (tmp_path / "file").write_text("2")
    assert metadata._git()["git_uncommitted_changes"] is True


def test_without_git_there_are_no_git_facts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert metadata._git() == {}
