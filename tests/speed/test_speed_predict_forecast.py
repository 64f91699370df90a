"""Predictions of imagined machines' steps, whose right answer is known."""

import math

import pytest
from imagined_steps import CONSTANTS, DEVICES, WORKLOADS, model_seconds, own_seconds, step_times

from speed.predict import forecast, models
from speed.predict.calibrate import calibrate
from speed.predict.forecast import Case, Machine, NoReference, between, corners, middle
from speed.predict.gpus import GPUS

CALIBRATION = calibrate(step_times())
V100 = Machine(GPUS["v100"], DEVICES)
A100 = Machine(GPUS["a100"], 4)


def model(workload: str, machine: Machine, case: Case | None = None, **more) -> float:
    case = middle(CALIBRATION) if case is None else case
    return forecast.model_seconds(CALIBRATION, workload, "jax", machine, case, **more)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_reference_predicts_itself_whatever_is_not_known(workload: str):
    for case in (middle(CALIBRATION), *corners(CALIBRATION)):
        # At the least efficiency wmt's products are its whole step, and leave none of its
        # optimizer: there is no rest to take that from.
        if workload == "wmt" and case.constants.efficiency < 0.5:
            continue
        own = forecast.entry_seconds("baseline", workload, V100, case, 0.0)
        assert model(workload, V100, case) + own == pytest.approx(model_seconds(workload))


def test_products_follow_the_peak_and_the_rest_the_bandwidth():
    workload = "imagenet_vit"
    found = models.model(workload)
    products = found.flops * found.batch / CONSTANTS.efficiency
    there = products / DEVICES / 15.7e12
    rest = model_seconds(workload) - there - own_seconds("baseline", workload)
    expected = products / 4 / 156e12 + rest * (8 / 4) * (900 / 1555)
    assert model(workload, A100) == pytest.approx(expected)
    by_host = middle(CALIBRATION)._replace(by_memory=False)
    assert model(workload, A100, by_host) == pytest.approx(products / 4 / 156e12 + rest)


def test_a_model_grows_with_its_batch_and_shrinks_with_the_devices():
    whole = model("wmt", A100)
    assert model("wmt", A100, batch=64) == pytest.approx(whole / 2)
    assert model("wmt", Machine(GPUS["a100"], 8)) == pytest.approx(whole / 2)


def test_a_llama_has_wmts_rest_per_product():
    for case in (middle(CALIBRATION), middle(CALIBRATION)._replace(by_memory=False)):
        flops = {
            name: models.model(name).flops * models.model(name).batch
            for name in ("wmt", "llama_130m")
        }
        ratio = model("llama_130m", A100, case) / model("wmt", A100, case)
        assert ratio == pytest.approx(flops["llama_130m"] / flops["wmt"])


def test_what_no_log_tells_is_said():
    with pytest.raises(NoReference, match="no V100 step of fastmri in jax"):
        model("fastmri", A100)
    with pytest.raises(NoReference):
        model("wmt", A100, logs="other")


def test_intervals_hold_the_prediction_and_its_extremes():
    values = between(CALIBRATION, lambda case: model("imagenet_resnet", A100, case))
    assert values.least < values.middle < values.most
    assert values.middle == model("imagenet_resnet", A100)
    constant = between(CALIBRATION, lambda case: 1.0)
    assert constant == (1.0, 1.0, 1.0)


def test_precision_is_an_entrys_own_where_the_device_has_it():
    case = Case(CONSTANTS, True)
    v100, a100 = (
        forecast.entry_seconds("muon_torch", "wmt", machine, case, 0.0) for machine in (V100, A100)
    )
    assert a100 < v100
    more = forecast.entry_seconds("caspr_adaptive", "wmt", A100, case, 100.0)
    less = forecast.entry_seconds("caspr_adaptive", "wmt", A100, case, 0.0)
    # 256 roots, 64 a device, three products in fp32 each, every twentieth step.
    each = 64 * 3 * 2 * 1024**3 / (CONSTANTS.efficiency * 19.5e12) / 20
    assert more - less == pytest.approx(100 * each)
    assert math.isfinite(more)
