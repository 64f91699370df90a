"""AlgoPerf's targets, against the published table, and against the harness where it is there."""

import importlib

import pytest

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
