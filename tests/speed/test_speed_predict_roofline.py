"""Seconds of loads that can be worked out by hand."""

import pytest

from speed.predict.gpus import GPUS, Gpu
from speed.predict.roofline import (
    Constants,
    Load,
    factorisation_seconds,
    gather_seconds,
    product_seconds,
    seconds,
)

# 1 TFLOP/s, 100 GB/s, 10 GB/s.
ROUND = Gpu("round", "round", {"fp32": 1e12, "bf16": 4e12}, 1e11, 1e10, "none")
CONSTANTS = Constants(efficiency=0.5, launch=1e-6, factorisation=9e9)


def test_a_large_product_is_bound_by_arithmetic():
    load = Load(products={(1000, 1000, 1000): 3})
    # 2e9 FLOP each, at half of the peak.
    assert product_seconds(load, ROUND, CONSTANTS, "fp32") == pytest.approx(3 * 4e-3)
    assert product_seconds(load, ROUND, CONSTANTS, "bf16") == pytest.approx(3 * 1e-3)


def test_a_thin_product_is_bound_by_memory():
    load = Load(products={(1000, 1, 1000): 1})
    # A million elements written, 2,000 read; half as wide in bf16.
    assert product_seconds(load, ROUND, CONSTANTS, "fp32") == pytest.approx(4 * 1_002_000 / 1e11)
    assert product_seconds(load, ROUND, CONSTANTS, "bf16") == pytest.approx(2 * 1_002_000 / 1e11)


def test_an_all_gather_needs_another_device():
    load = Load(gathered=8e9)
    assert gather_seconds(load, ROUND, 1) == 0
    assert gather_seconds(load, ROUND, 4) == pytest.approx(0.6)


def test_factorisations_follow_the_bandwidth():
    load = Load(factorised=9e9)
    assert factorisation_seconds(load, GPUS["v100"], CONSTANTS) == pytest.approx(1)
    assert factorisation_seconds(load, GPUS["a100"], CONSTANTS) == pytest.approx(900 / 1555)


def test_parts_and_loads_add_up():
    first = Load({(10, 20, 30): 2}, moved=1e9, launches=7, factorised=1e6, gathered=1e6)
    second = Load({(10, 20, 30): 1, (5, 5, 5): 4}, moved=2e9, launches=3, gathered=2e6)
    both = first + second
    assert both.products == {(10, 20, 30): 3, (5, 5, 5): 4}
    assert both.product_flops == 3 * 2 * 10 * 20 * 30 + 4 * 2 * 125
    separate = sum(seconds(load, ROUND, 4, CONSTANTS) for load in (first, second))
    assert seconds(both, ROUND, 4, CONSTANTS) == pytest.approx(separate)
    alone = Load(moved=1e9, launches=7)
    assert seconds(alone, ROUND, 4, CONSTANTS) == pytest.approx(1e-2 + 7e-6)


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_lower_precision_is_faster_on_every_gpu(gpu: Gpu):
    peaks = [gpu.peak[name] for name in ("fp32", "tf32", "fp16") if name in gpu.peak]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[-1]
    assert gpu.link < gpu.bandwidth
    assert gpu.short in gpu.product
