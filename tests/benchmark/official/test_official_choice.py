"""Which runner runs a command, and what is told when the one asked for cannot."""

import sys
from importlib.machinery import PathFinder

import pytest
from fake_algoperf import write

from benchmark.errors import UserError
from benchmark.official import harness


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setattr(harness, "MODULES", ("no_such_algoperf", "no_such_runner"))


@pytest.fixture
def present(monkeypatch):
    monkeypatch.setattr(harness, "installed", lambda: True)


def test_installed_means_both_modules_and_imports_neither(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.partition(".")[0] == "algoperf"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(write(tmp_path))])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])  # no editable installation
    assert harness.installed()
    (tmp_path / "submission_runner.py").unlink()
    sys.path_importer_cache.clear()
    assert not harness.installed()
    assert "algoperf" not in sys.modules


def test_auto_is_official_where_it_is_installed(present):
    assert harness.is_official("auto", "ogbg_small")
    assert harness.is_official("auto", "ogbg")
    assert not harness.is_official("embedded", "ogbg_small")


def test_auto_is_embedded_elsewhere(absent):
    assert not harness.is_official("auto", "ogbg_small")
    assert not harness.is_official("auto", "cubic")  # the embedded runner names the allowed ones


def test_auto_is_embedded_for_what_only_that_has(present, monkeypatch):
    assert not harness.is_official("auto", "ogbg_small", embedded_only=["step_hint"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not harness.is_official("auto", "ogbg_small")
    with pytest.raises(UserError, match="starts torchrun itself; see --num_gpus"):
        harness.is_official("official", "ogbg_small")


def test_a_dry_run_needs_no_harness(absent):
    assert harness.is_official("official", "ogbg", dry_run=True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"harness": "official"}, "--harness=official: no_such_algoperf or no_such_runner is not "),
        ({"harness": "official", "embedded_only": ["step_hint"]}, "--step_hint is for --harness=e"),
        ({"official_only": ["rules"]}, "--rules is for --harness=official, and the AlgoPerf harn"),
        ({"workload": "ogbg"}, "--workload=ogbg is for --harness=official, and the AlgoPerf harn"),
        ({"harness": "embedded", "official_only": ["num_gpus"]}, "--num_gpus is for --harness=of"),
        ({"harness": "embedded", "workload": "finewebedu_lm"}, "--workload=finewebedu_lm is for "),
    ],
)
def test_what_cannot_be_had_is_told(absent, given, told):
    with pytest.raises(UserError) as caught:
        harness.is_official(**{"harness": "auto", "workload": "ogbg_small", **given})
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_where_it_is_installed_nothing_is_said_of_installing(present):
    with pytest.raises(UserError) as caught:
        harness.is_official(
            "auto", "ogbg_small", embedded_only=["end_with_stdin"], official_only=["rules"]
        )
    assert str(caught.value) == "--rules is for --harness=official"
