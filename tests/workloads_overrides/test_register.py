"""Registration with AlgoPerf: by a stand-in for its registry, and by the real one where it is."""

import dataclasses
import importlib
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import fake_algoperf
import pytest
from absl import logging

import workloads_overrides
from algoperf_api import HAS_ALGOPERF
from workloads_overrides import FRAMEWORKS, WORKLOADS, register
from workloads_overrides.budgets import load

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def registry(monkeypatch):
    """The installed registry, a fake one."""
    fake_algoperf.install(monkeypatch, fake_algoperf.registry())
    return sys.modules["algoperf.workloads.workloads"]


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "info", lambda message, *values: lines.append(message % values))
    return lines


def imported(registry, name, framework="jax", **kwargs):
    """A workload as the harness makes it: it writes the path into the entry first."""
    entry = registry.WORKLOADS[name]
    path = fake_algoperf.asked_path(entry, framework)
    return registry.import_workload(
        workload_path=path, workload_class_name=entry["workload_class_name"], **kwargs
    )


def test_every_workload_is_added_and_the_official_ones_stay(registry):
    before = {name: dict(entry) for name, entry in registry.WORKLOADS.items()}
    original = registry.import_workload
    register()
    assert set(registry.WORKLOADS) == {*before, *WORKLOADS}
    assert {name: registry.WORKLOADS[name] for name in before} == before
    assert registry.BASE_WORKLOADS == ["ogbg", "wmt"]
    assert registry.import_workload is original  # without rules nothing of AlgoPerf's changes


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_harness_gets_the_class_that_import_workload_gives(registry, name, framework):
    register()
    workload = imported(registry, name, framework, workload_init_kwargs={})
    assert type(workload) is type(workloads_overrides.import_workload(name, framework))
    assert type(workload).__module__.startswith("workloads_overrides.")


def test_no_workload_is_imported_before_it_is_asked_for():
    code = """
        import sys, types
        sys.path[:0] = [{tests!r}]
        import fake_algoperf, inspect
        for name in ("algoperf", "algoperf.workloads"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["algoperf.workloads.workloads"] = fake_algoperf.registry()
        import workloads_overrides
        workloads_overrides.register()
        for module in list(sys.modules.values()):  # as `inspect`, and so torch.compile, does
            hasattr(module, "__file__"), hasattr(module, "__warningregistry__")
        assert not {{"jax", "torch", "workloads_overrides.small"}} & set(sys.modules)
        print("light")
    """
    code = textwrap.dedent(code).format(tests=str(REPOSITORY / "tests" / "support"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("light\n", "")


def test_a_stand_in_has_the_members_of_the_module_and_no_others(registry):
    register()
    name = "workloads_overrides.small.ogbg.ogbg_jax.workload"
    real = importlib.import_module(name)
    stand_in = importlib.import_module(f"algoperf.workloads.{name}")
    assert stand_in is not real
    members = {key for key, _ in inspect.getmembers(real) if not key.startswith("__")}
    assert members == set(dir(stand_in))
    assert all(getattr(stand_in, key) is getattr(real, key) for key in members)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = stand_in.no_such_thing
    with pytest.raises(AttributeError, match=f"{name}.*__file__"):
        _ = stand_in.__file__


def test_registering_twice_changes_nothing(registry):
    register()
    entries = {name: id(entry) for name, entry in registry.WORKLOADS.items()}
    stand_ins = {name: id(m) for name, m in sys.modules.items() if name.startswith("algoperf.")}
    workload = imported(registry, "ogbg_small", return_class=True)
    # What the harness's main does to the entry of the workload that it runs.
    registry.WORKLOADS["ogbg_small"]["workload_path"] = "algoperf/workloads/changed/workload.py"
    register()
    assert {name: id(entry) for name, entry in registry.WORKLOADS.items()} == entries
    again = {name: id(m) for name, m in sys.modules.items() if name.startswith("algoperf.")}
    assert again == stand_ins
    assert WORKLOADS["ogbg_small"]["workload_path"] == "small/ogbg/ogbg"
    assert workload is type(workloads_overrides.import_workload("ogbg_small", "jax"))


def test_an_alias_has_the_budget_of_the_workload_it_stands_for(registry, logged):
    register("v0.6_8xV100")
    classes = {name: imported(registry, name, return_class=True) for name in ("c4_130m", "c4")}
    assert classes["c4"] is classes["c4_130m"]
    workload = object.__new__(classes["c4_130m"])
    budget = load("v0.6_8xV100").workloads["c4"]
    assert workload.max_allowed_runtime_sec == budget.max_allowed_runtime_sec == 38_000
    assert workload.eval_period_time_sec == budget.eval_period_time_sec
    assert any(line.startswith("rules v0.6_8xV100: c4.max_allowed") for line in logged)
    register("2026_4xA100")
    imported(registry, "c4", return_class=True)
    assert workload.max_allowed_runtime_sec == 13_000


def test_a_measured_budget_is_not_replaced_by_an_estimate(registry, logged, monkeypatch):
    kind = imported_class("c4_60m")
    measured = {"status": "measured", "max_allowed_runtime_sec": 1111, "step_hint": 3333}
    monkeypatch.setattr(kind, "_targets", measured)
    register("2026_4xA100")
    assert imported(registry, "c4_60m", return_class=True) is kind
    workload = object.__new__(kind)
    assert (workload.max_allowed_runtime_sec, workload.step_hint) == (1111, 3333)
    told = "rules 2026_4xA100: c4_60m keeps its own budget, which was measured"
    assert [line for line in logged if "c4_60m" in line] == [told]


def imported_class(name):
    return type(workloads_overrides.import_workload(name, "jax"))


def test_a_workload_of_algoperfs_own_is_not_replaced(registry):
    theirs = {"workload_path": "c4/c4", "workload_class_name": "C4SmallWorkload"}
    registry.WORKLOADS["c4_small"] = theirs
    with pytest.raises(ValueError, match="own named c4_small;") as caught:
        register()
    assert "\n" not in str(caught.value)
    assert registry.WORKLOADS["c4_small"] is theirs
    assert "ogbg_small" not in registry.WORKLOADS  # refused as a whole


class Absent:
    """Finds no algoperf, wherever it is installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "algoperf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_algoperf(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "algoperf"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"^algoperf is not installed"):
        register()


def test_what_algoperf_itself_lacks_is_not_taken_for_algoperf(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'jraph'", name="jraph")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="jraph"):
        register()


@pytest.mark.parametrize("rules", ["v0.6_8xV100", "2026_4xA100"])
@pytest.mark.parametrize("name", ["ogbg", "wmt"])
def test_rules_set_the_official_budgets_and_log_them(registry, logged, rules, name):
    register(rules)
    workload = imported(registry, name, workload_init_kwargs={"tokenizer": "t"})
    assert workload.tokenizer == "t"
    expected = load(rules).workloads[name].properties
    assert {key: getattr(workload, key) for key in expected} == expected
    for key, value in expected.items():
        assert f"rules {rules}: {name}.{key}: {fake_algoperf.BUDGET[key]} -> {value}" in logged
    other = {"ogbg": "WmtWorkload", "wmt": "OgbgWorkload"}[name]
    assert registry.classes[other]().step_hint == fake_algoperf.BUDGET["step_hint"]


def test_rules_leave_variants_and_small_workloads_alone(registry, logged):
    register("2026_4xA100")
    variant = imported(registry, "ogbg_gelu", return_class=True)
    assert variant().max_allowed_runtime_sec == fake_algoperf.BUDGET["max_allowed_runtime_sec"]
    assert "step_hint" not in vars(variant)
    own = workloads_overrides.import_workload("ogbg_small", "jax").max_allowed_runtime_sec
    small = imported(registry, "ogbg_small", workload_init_kwargs={})
    assert small.max_allowed_runtime_sec == own
    assert [line for line in logged if "keeps its own" in line] == [
        "rules 2026_4xA100: no budget for ogbg_gelu, which keeps its own",
        "rules 2026_4xA100: no budget for ogbg_small, which keeps its own",
    ]


def test_workloads_of_the_rules_that_algoperf_lacks_are_logged(registry, logged):
    register("2026_4xA100")
    (line,) = logged
    assert line.startswith("rules 2026_4xA100: the installed algoperf has no imagenet_resnet, ")
    assert line.endswith(", finewebedu_lm")
    assert "finewebedu_lm" not in registry.WORKLOADS


def test_the_last_rules_count_and_none_changes_nothing(registry, logged):
    original = registry.import_workload
    own = imported(registry, "ogbg", return_class=True)().max_allowed_runtime_sec
    register("2026_4xA100")
    register("v0.6_8xV100")
    assert imported(registry, "ogbg", return_class=True)().max_allowed_runtime_sec == 12011
    register()
    assert imported(registry, "ogbg", return_class=True)().max_allowed_runtime_sec == 12011
    register("2026_4xA100")
    assert imported(registry, "ogbg", return_class=True)().max_allowed_runtime_sec == 11303
    assert f"rules 2026_4xA100: ogbg.max_allowed_runtime_sec: {own} -> 11303" in logged
    assert registry.import_workload.original is original  # wrapped once


def test_other_rules_undo_what_earlier_ones_have_set(registry, monkeypatch):
    def value():
        return imported(registry, "ogbg", return_class=True)().max_allowed_runtime_sec

    own = value()
    register("2026_4xA100")
    assert value() == 11303 != own
    without = dataclasses.replace(load("v0.6_8xV100"), workloads={})
    monkeypatch.setattr(sys.modules["workloads_overrides.register"], "load", lambda _: without)
    register("v0.6_8xV100")
    assert value() == own


def test_unknown_rules_are_refused_before_anything_is_registered(registry):
    with pytest.raises(ValueError, match=r"'v9'; allowed: v0\.6_8xV100, 2026_4xA100"):
        register("v9")
    assert not set(WORKLOADS) & set(registry.WORKLOADS)


@pytest.mark.official
@pytest.mark.skipif(not HAS_ALGOPERF, reason="the official AlgoPerf harness is not installed")
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_installed_harness(framework):
    """In a process of its own: registration lasts."""
    code = f"""
        import workloads_overrides
        from workloads_overrides.budgets import load
        workloads_overrides.register()
        from algoperf.workloads import workloads
        def make(name, **kwargs):
            entry = workloads.WORKLOADS[name]
            path = "algoperf/workloads/" + entry["workload_path"] + "_{framework}/workload.py"
            return workloads.import_workload(path, entry["workload_class_name"], **kwargs)
        for name in workloads_overrides.WORKLOADS:
            assert make(name, workload_init_kwargs={{}}).step_hint > 0
        rules = load("v0.6_8xV100").workloads
        official = rules.keys() - workloads_overrides.WORKLOADS
        for name in official:  # the rules of the code itself
            budget = rules[name]
            blank = object.__new__(make(name, return_class=True))
            assert {{key: getattr(blank, key) for key in budget.properties}} == budget.properties
        workloads_overrides.register("2026_4xA100")
        for name, budget in load("2026_4xA100").workloads.items():
            if name == "finewebedu_lm" and name not in workloads.WORKLOADS:
                continue
            blank = object.__new__(make(name, return_class=True))
            assert {{key: getattr(blank, key) for key in budget.properties}} == budget.properties
        print("as expected")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "as expected\n", done.stderr
