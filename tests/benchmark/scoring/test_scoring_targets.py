"""Targets and budgets: from logs, from files, of AlgoPerf's versions."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from log_trees import BUDGET, META, METRIC, TARGET, trial_dir, write_targets, write_trial

from benchmark.errors import UserError
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import Trial, find_trials, read_trial
from benchmark.scoring.targets import (
    Pool,
    Target,
    pool_from_file,
    pool_from_logs,
    pool_of_version,
    with_budgets,
)
from workloads_overrides import budgets, targets


def trials(root: Path) -> list[Trial]:
    findings = Findings()
    found = [read_trial(where, root, findings) for where in find_trials(root, findings)]
    assert findings.texts == ()
    return found


def logged(root: Path) -> Pool:
    findings = Findings()
    pool = pool_from_logs(trials(root), findings)
    assert findings.texts == ()
    return pool


def from_file(path: Path) -> Pool:
    findings = Findings()
    pool = pool_from_file(path, findings)
    assert findings.texts == ()
    return pool


def budget(root: Path, pool: Pool, self_tuning: bool | None = None) -> dict[str, float]:
    found = with_budgets(pool, trials(root), self_tuning).targets
    return {name: target.budget for name, target in found.items()}


@pytest.mark.parametrize("metric", ["wer", "loss", "ce_loss", "ppl"])
def test_lower_is_better_metrics(metric: str):
    target = Target("w", metric, 0.5)
    assert target.sign == -1
    assert str(target) == f"{metric} ≤ 0.5"


@pytest.mark.parametrize("metric", ["accuracy", "mean_average_precision", "ssim", "bleu"])
def test_higher_is_better_metrics(metric: str):
    target = Target("w", metric, 30.8491)
    assert target.sign == 1
    assert target.goal == "≥ 30.8491"
    assert target.column == f"validation/{metric}"


def test_targets_of_the_logs(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "toy"), [1.0])
    write_trial(trial_dir(tmp_path, "a", "other"), [1.0], meta={"rng_seed": 1})
    pool = logged(tmp_path)
    assert list(pool.targets) == ["toy"]
    assert (pool.targets["toy"].metric, pool.targets["toy"].value) == (METRIC, TARGET)
    assert pool.variants == {}
    assert (pool.num_studies, pool.num_trials) == (None, None)
    assert budget(tmp_path, pool) == {"toy": BUDGET}


def test_logs_that_name_no_target_have_those_of_algoperf(tmp_path: Path):
    """By the workload's name, variants included; what the logs name comes first."""
    for name in ("wmt", "wmt_glu_tanh", "ogbg"):
        write_trial(trial_dir(tmp_path, "a", name), [1.0], meta={})
    write_trial(trial_dir(tmp_path, "a", "fastmri"), [1.0])
    pool = logged(tmp_path)
    assert [(t.workload, t.metric, t.value) for t in pool.targets.values()] == [
        ("fastmri", METRIC, TARGET),
        ("ogbg", "mean_average_precision", 0.28098),
        ("wmt", "bleu", 30.8491),
        ("wmt_glu_tanh", "bleu", 29.5779),
    ]
    assert pool.variants == {"wmt_glu_tanh": "wmt"}


def test_a_variant_alone_is_a_workload_like_others(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "ogbg_gelu"), [1.0], meta={})
    write_trial(trial_dir(tmp_path, "a", "wmt"), [1.0], meta={})
    pool = logged(tmp_path)
    assert list(pool.targets) == ["ogbg_gelu", "wmt"]
    assert pool.variants == {}


def test_small_workloads_are_no_variants_of_algoperfs(tmp_path: Path):
    for name in ("ogbg", "ogbg_small"):
        write_trial(trial_dir(tmp_path, "a", name), [1.0])
    assert logged(tmp_path).variants == {}


def self_tuning_logs(root: Path, name: str = "toy", meta: dict = META) -> None:
    folder = write_trial(trial_dir(root, "a", name), [1.0], meta=meta)
    (folder / "flags_0.json").write_text(json.dumps({"tuning_ruleset": "self"}))


@pytest.mark.parametrize(("asked", "factor"), [(None, 1.5), (True, 1.5), (False, 1.0)])
def test_self_tuning_has_a_longer_budget(tmp_path: Path, asked: bool | None, factor: float):
    self_tuning_logs(tmp_path)
    assert budget(tmp_path, logged(tmp_path), asked) == {"toy": factor * BUDGET}


def test_the_ruleset_can_be_asked_for_where_the_logs_say_another(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [1.0])
    assert budget(tmp_path, logged(tmp_path), True) == {"toy": 1.5 * BUDGET}


@pytest.mark.parametrize(("version", "factor"), [("v0.5", 3.0), ("v0.6", 1.5), ("2026", 1.5)])
def test_budgets_of_a_version_in_self_tuning(tmp_path: Path, version: str, factor: float):
    pool = pool_of_version(version)
    known = pool.targets["ogbg"].budget
    write_trial(trial_dir(tmp_path, "a", "wmt"), [1.0])
    for asked, wanted in ((True, factor), (False, 1.0), (None, 1.0)):
        found = budget(tmp_path, pool, asked)
        assert found["ogbg"] == wanted * known  # of the version: the logs have none
        assert found["wmt"] == BUDGET * (factor if asked else 1)  # of the logs
    assert pool.self_tuning_factor == factor


def test_budgets_of_a_version_follow_the_ruleset_that_the_runs_name(tmp_path: Path):
    """`self_tuning=None` is "as the runs say", whether or not they name their budget too."""
    self_tuning_logs(tmp_path, "ogbg", meta={})
    pool = pool_of_version("v0.6")
    assert budget(tmp_path, pool)["ogbg"] == 1.5 * pool.targets["ogbg"].budget


@pytest.mark.parametrize("version", targets.POOLS)
def test_the_versions(version: str):
    pool, facts = pool_of_version(version), targets.load_pool(version)
    base = [name for name in pool.targets if name not in pool.variants]
    assert tuple(base) == facts.base_workloads
    assert tuple(pool.variants) == facts.held_out_workloads
    assert list(pool.targets) == [*base, *pool.variants]
    for name in base:
        official = targets.load()[name]
        assert pool.targets[name].metric == official.target_metric_name
        assert pool.targets[name].value == official.validation_target_value
        assert pool.targets[name].budget == facts.max_allowed_runtime_sec[name]
    for name, of in pool.variants.items():
        official = targets.variants()[name]
        assert of == official.base_workload
        assert name.startswith(f"{of}_")
        assert pool.targets[name].value == official.validation_target_value
    assert version in pool.name


def test_what_the_versions_differ_in():
    pools = {version: pool_of_version(version) for version in targets.POOLS}
    assert {v: len(p.targets) - len(p.variants) for v, p in pools.items()} == {
        "v0.5": 8,
        "v0.6": 8,
        "2026": 9,
    }
    assert {v: len(p.variants) for v, p in pools.items()} == {"v0.5": 6, "v0.6": 0, "2026": 0}
    assert [p.num_studies for p in pools.values()] == [5, 3, 3]
    assert [p.num_trials for p in pools.values()] == [5, 5, 5]
    fastmri = [pool.targets["fastmri"].budget for pool in pools.values()]
    assert fastmri == [
        8859,
        *(
            budgets.load(rules).workloads["fastmri"].max_allowed_runtime_sec
            for rules in ("v0.6_8xV100", "2026_4xA100")
        ),
    ]


def test_one_trial_that_knows_the_target_is_enough(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", study=0), [1.0], meta=None)
    write_trial(trial_dir(tmp_path, "a", study=1), [1.0])
    assert logged(tmp_path).targets["toy"].value == TARGET


WRONG = [None, "0.7", math.nan, math.inf, -math.inf, [0.7], {"value": 0.7}, True, 10**400]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: f"{value}"[:9])
def test_a_target_that_is_no_number_is_none(tmp_path: Path, value: Any):
    meta = {**META, "workload.validation_target_value": value}
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=meta)
    assert logged(tmp_path).targets == {}


@pytest.mark.parametrize("metric", [None, 7, ["wer"], {"name": "wer"}, True, math.nan])
def test_a_metric_that_is_no_name_is_none(tmp_path: Path, metric: Any):
    meta = {**META, "workload.target_metric_name": metric}
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=meta)
    assert logged(tmp_path).targets == {}


@pytest.mark.parametrize("value", [*WRONG, 0, -5], ids=lambda value: f"{value}"[:9])
def test_a_budget_that_is_no_time_is_unknown(tmp_path: Path, value: Any):
    meta = {**META, "workload.max_allowed_runtime_sec": value}
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=meta)
    found = budget(tmp_path, logged(tmp_path))
    assert math.isnan(found["toy"])


def test_the_commonest_target_and_budget_are_used(tmp_path: Path):
    """That there are others is told or refused where the runs are compared."""
    for study in range(2):
        write_trial(trial_dir(tmp_path, "b", study=study), [1.0])
    other = {**META, "workload.validation_target_value": 0.9, "workload.max_allowed_runtime_sec": 7}
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=other)
    pool = logged(tmp_path)
    assert pool.targets["toy"].value == TARGET
    assert budget(tmp_path, pool) == {"toy": BUDGET}


def test_an_unknown_metric_is_told(tmp_path: Path):
    meta = {**META, "workload.target_metric_name": "wibble"}
    write_trial(trial_dir(tmp_path, "a"), [1.0], meta=meta)
    findings = Findings()
    pool = pool_from_logs(trials(tmp_path), findings)
    assert pool.targets["toy"].sign == 1
    assert findings.texts == ("toy: unknown metric 'wibble' is taken as higher = better",)
    assert findings.left_out == ()


def test_targets_of_a_file(tmp_path: Path):
    path = write_targets(tmp_path / "mine.json", {"toy": 0.25, "never_run": 0.5}, metric="wer")
    pool = from_file(path)
    assert pool.targets.keys() == {"toy", "never_run"}
    assert [(t.workload, t.metric, t.value) for t in pool.targets.values()] == [
        ("toy", "wer", 0.25),
        ("never_run", "wer", 0.5),
    ]
    assert (pool.name, pool.variants) == ("mine.json", {})
    write_trial(trial_dir(tmp_path / "logs", "a"), [1.0])
    found = budget(tmp_path / "logs", pool)
    assert found["toy"] == BUDGET
    assert math.isnan(found["never_run"])


def test_held_out_workloads_of_a_file_are_variants(tmp_path: Path):
    path = write_targets(tmp_path / "t.json", {"b": 1.0, "a": 2.0}, {"a_x": 3.0, "b_y": 4.0})
    pool = from_file(path)
    assert list(pool.targets) == ["b", "a", "a_x", "b_y"]
    assert pool.variants == {"a_x": "a", "b_y": "b"}
    assert pool.targets["a_x"].value == 3.0


@pytest.mark.parametrize("order", [1, -1])
def test_of_base_names_that_begin_alike_the_longest_is_meant(tmp_path: Path, order: int):
    base = dict.fromkeys(["net", "net_deep", "net_deep_wide"][::order], 0.5)
    held_out = {"net_gelu": 0.5, "net_deep_gelu": 0.5, "net_deep_wide_gelu": 0.5}
    pool = from_file(write_targets(tmp_path / "t.json", base, held_out))
    assert pool.variants == {
        "net_gelu": "net",
        "net_deep_gelu": "net_deep",
        "net_deep_wide_gelu": "net_deep_wide",
    }


def test_only_some_workloads(tmp_path: Path):
    base, held_out = {"a": 1.0, "b": 1.0}, {"a_x": 1.0, "b_x": 1.0}
    pool = from_file(write_targets(tmp_path / "t.json", base, held_out))
    assert pool.only(None) == pool
    part = pool.only(["b_x", "b", "other"])
    assert (list(part.targets), part.variants) == (["b", "b_x"], {"b_x": "b"})
    assert (part.name, part.self_tuning_factor) == (pool.name, pool.self_tuning_factor)
    # A variant without its base workload is scored for itself.
    alone = pool.only(["a_x", "b"])
    assert (list(alone.targets), alone.variants) == (["b", "a_x"], {})
    assert pool.only([]).targets == {}


ENTRY = {"target_metric_name": "wer", "validation_target_value": 0.25, "step_hint": 10}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not a targets file"),
        ("", "not a targets file"),
        ("[" * 100_000, "not a targets file"),
        ([], "not a targets file"),
        ("null", "not a targets file"),
        ({"workloads": {}}, "KeyError: 'base_workloads'"),
        ({"base_workloads": ["toy"], "workloads": {}}, "no target for toy"),
        ({"base_workloads": ["toy"], "workloads": None}, "not a targets file"),
        ({"base_workloads": None, "workloads": {}}, "not a targets file"),
        ({"base_workloads": [[]], "workloads": {}}, "not a targets file"),
        ({"base_workloads": [1], "workloads": {}}, "1"),
        ({"base_workloads": [None], "workloads": {}}, "None"),
        ({"base_workloads": ["toy"], "workloads": {"toy": {}}}, "target_metric_name"),
        ({"base_workloads": ["toy"], "workloads": {"toy": [1]}}, "not a targets file"),
        ({"base_workloads": ["toy"], "held_out_workloads": ["toy_x"], "workloads": {"toy": ENTRY}},
         "no target for toy_x"),
        ({"base_workloads": ["toy"], "held_out_workloads": 7, "workloads": {"toy": ENTRY}},
         "not a targets file"),
        ({"base_workloads": ["toy"], "held_out_workloads": ["net_x"],
          "workloads": {"toy": ENTRY, "net_x": ENTRY}},
         "held-out workload net_x is a variant of none of the base workloads toy"),
        ({"base_workloads": ["toy"], "held_out_workloads": ["toy"], "workloads": {"toy": ENTRY}},
         "held-out workload toy is a variant of none of the base workloads toy"),
        ({"base_workloads": ["toy"],
          "workloads": {"toy": {**ENTRY, "validation_target_value": "high"}}},
         "could not convert string to float: 'high'"),
        ({"base_workloads": ["toy"],
          "workloads": {"toy": {**ENTRY, "validation_target_value": 10**400}}},
         "not a targets file"),
    ],
)  # fmt: skip
def test_a_bad_targets_file_is_a_one_line_error(tmp_path: Path, content: Any, told: str):
    path = tmp_path / "targets.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError) as error:
        pool_from_file(path, Findings())
    message = str(error.value)
    assert message.startswith(f"--workload_targets={path}: ")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_target_value_that_is_not_finite_is_an_error(tmp_path: Path, value: float):
    path = write_targets(tmp_path / "targets.json", {"toy": value})
    with pytest.raises(UserError, match=r"--workload_targets=.*toy"):
        pool_from_file(path, Findings())


def test_an_absent_targets_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"--workload_targets=.*nope\.json: No such file") as error:
        pool_from_file(tmp_path / "nope.json", Findings())
    assert "v0.5, v0.6, 2026" in str(error.value)
    with pytest.raises(UserError, match=r"--workload_targets=.*: Is a directory"):
        pool_from_file(tmp_path, Findings())
