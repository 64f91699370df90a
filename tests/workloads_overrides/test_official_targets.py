"""AlgoPerf's targets and pools, against published tables, and the harness where it is there."""

import importlib
import json

import pytest
from log_trees import gold

from algoperf_api import HAS_ALGOPERF
from workloads_overrides import WORKLOADS, budgets, targets

TABLE = """
ogbg                    mean_average_precision  0.28098   0.268729
wmt                     bleu                    30.8491   30.7219
imagenet_resnet         accuracy                0.77431   0.656
imagenet_vit            accuracy                0.77309   0.6519
criteo1tb               loss                    0.123735  0.126041
fastmri                 ssim                    0.723653  0.740633
librispeech_conformer   wer                     0.085884  0.052981
librispeech_deepspeech  wer                     0.119936  0.074143
finewebedu_lm           ppl                     22.2995   None
"""


def test_the_figures():
    found = [
        [name, *(str(value) for value in vars(target).values())]
        for name, target in targets.load().items()
    ]
    assert found == [line.split() for line in TABLE.strip().splitlines()]


def test_they_are_the_workloads_with_official_budgets():
    named = {name for rules in budgets.RULE_SETS for name in budgets.load(rules).workloads}
    assert set(targets.load()) == named - set(WORKLOADS)


@pytest.mark.official
@pytest.mark.skipif(not HAS_ALGOPERF, reason="needs AlgoPerf's own harness")
@pytest.mark.parametrize("name", ["ogbg", "imagenet_resnet", "imagenet_vit", "wmt"])
def test_the_installed_harness_has_them(name):
    registry = importlib.import_module("algoperf.workloads.workloads")
    entry = registry.WORKLOADS[name]
    kind = registry.import_workload(
        workload_path=f"algoperf/workloads/{entry['workload_path']}_jax/workload.py",
        workload_class_name=entry["workload_class_name"],
        return_class=True,
    )
    workload = object.__new__(kind)
    expected = targets.load()[name]
    assert workload.validation_target_value == pytest.approx(expected.validation_target_value)
    assert workload.test_target_value == pytest.approx(expected.test_target_value)
    assert workload.target_metric_name == expected.target_metric_name


def test_the_variants_are_of_base_workloads_and_named_after_them():
    variants = targets.variants()
    assert len(variants) == 3 * 8
    for name, variant in variants.items():
        base = targets.load()[variant.base_workload]
        assert name.startswith(f"{variant.base_workload}_")
        assert variant.target_metric_name == base.target_metric_name
        # A variant is another workload with a target of its own, of the same size.
        assert variant.validation_target_value != base.validation_target_value
        ratio = variant.validation_target_value / base.validation_target_value
        assert 0.9 < ratio < 1.3
    assert not variants.keys() & targets.load().keys()


@pytest.mark.parametrize("name", targets.POOLS)
def test_a_pool_names_known_workloads_and_their_budgets(name):
    pool = targets.load_pool(name)
    assert set(pool.base_workloads) <= targets.load().keys()
    assert set(pool.held_out_workloads) <= targets.variants().keys()
    for workloads in (pool.base_workloads, pool.held_out_workloads):
        assert len(set(workloads)) == len(workloads)
    assert pool.max_allowed_runtime_sec.keys() == set(pool.base_workloads)
    assert all(seconds > 0 for seconds in pool.max_allowed_runtime_sec.values())
    assert pool.description
    assert "mlcommons" in pool.source


def test_what_changed_from_version_to_version():
    v05, v06, v2026 = (targets.load_pool(name) for name in targets.POOLS)
    assert v05.base_workloads == v06.base_workloads
    assert set(v2026.base_workloads) - set(v06.base_workloads) == {"finewebedu_lm"}
    assert v05.held_out_workloads == (
        "criteo1tb_embed_init",
        "fastmri_tanh",
        "imagenet_resnet_large_bn_init",
        "librispeech_conformer_layernorm",
        "ogbg_model_size",
        "wmt_glu_tanh",
    )
    assert v06.held_out_workloads == v2026.held_out_workloads == ()
    rules = [(p.num_studies, p.num_trials, p.self_tuning_factor) for p in (v05, v06, v2026)]
    assert rules == [(5, 5, 3.0), (3, 5, 1.5), (3, 5, 1.5)]


@pytest.mark.parametrize(("name", "rules"), [("v0.6", "v0.6_8xV100"), ("2026", "2026_4xA100")])
def test_budgets_of_a_pool_are_those_of_its_rule_set(name, rules):
    pool, known = targets.load_pool(name), budgets.load(rules).workloads
    assert pool.max_allowed_runtime_sec == {
        workload: known[workload].max_allowed_runtime_sec for workload in pool.base_workloads
    }


# https://github.com/mlcommons/submissions_algorithms, scoring/compute_speedups.py.
BUDGETS_V05 = """
criteo1tb               7703
fastmri                 8859
imagenet_resnet         63008
imagenet_vit            77520
librispeech_conformer   61068
librispeech_deepspeech  55506
ogbg                    18477
wmt                     48151
"""


def test_budgets_of_v05():
    rows = [line.split() for line in BUDGETS_V05.strip().splitlines()]
    assert targets.load_pool("v0.5").max_allowed_runtime_sec == {
        workload: float(seconds) for workload, seconds in rows
    }


@pytest.mark.parametrize("name", ["v0.7", "", "V0.5", "official.json"])
def test_an_unknown_version_is_a_one_line_error(name):
    with pytest.raises(ValueError, match=r"unknown version .*; allowed: v0\.5, v0\.6, 2026$"):
        targets.load_pool(name)


@pytest.mark.parametrize(
    ("name", "version"), [("v05_external", "v0.5"), ("v06_external", "v0.6"), ("a100_self", "2026")]
)
def test_the_files_that_algoperf_scores_with_say_the_same(name, version):
    content = json.loads((gold() / name / "workload_targets.json").read_text())
    pool = targets.load_pool(version)
    assert set(content["base_workloads"]) == set(pool.base_workloads)
    assert set(content["held_out_workloads"]) == set(pool.held_out_workloads)
    known = targets.load() | targets.variants()
    for workload, entry in content["workloads"].items():
        assert known[workload].target_metric_name == entry["target_metric_name"]
        assert known[workload].validation_target_value == entry["validation_target_value"]
