"""The costs of this project's optimizers, and what follows for time to target."""

import math

import numpy as np
import pandas as pd
import pytest
from imagined_steps import step_times

from matprec import algorithms
from speed.predict import optimizers, tables
from speed.predict.algorithms import names
from speed.predict.calibrate import calibrate
from speed.predict.forecast import Machine, middle, model_seconds
from speed.predict.gpus import GPUS
from speed.predict.roofline import Load, seconds
from speed.predict.tracing import trace
from speed.tensors import Tensor

CALIBRATION = calibrate(step_times())
A100 = Machine(GPUS["a100"], 4)
SQUARES = [Tensor((64, 64), "matrix")] * 5


def table(optimizers: list[str], **more) -> pd.DataFrame:
    found = tables.table(CALIBRATION, "ogbg", "pytorch", A100, optimizers, **more)
    return found.set_index("optimizer")


def test_refreshes_are_shared_and_steps_are_not():
    alone, shared = (optimizers.cost("shampoo", SQUARES, "pytorch", n) for n in (1, 4))
    assert shared.step == alone.step
    # Of five matrices the busiest of four devices has two.
    assert shared.refresh.factorised == pytest.approx(alone.refresh.factorised * 2 / 5)
    assert alone.refresh.gathered == 0
    assert shared.refresh.gathered == 5 * 2 * 4 * 64**2
    assert shared.period == algorithms.Shampoo().refresh_every


def test_a_step_is_the_stacks_and_the_adapters_part():
    found = optimizers.cost("shampoo", SQUARES, "pytorch", 1).step
    step, _ = trace(algorithms.Shampoo(), 5, 64, 64)
    arrays = 4 * optimizers.ADAPTER_ARRAYS * 5 * 64**2
    assert found == step + Load(moved=arrays, launches=5 + optimizers.ADAPTER_LAUNCHES)


def test_jax_moves_less_for_the_same_products():
    torch, jax = (optimizers.cost("soap", SQUARES, name, 2) for name in ("pytorch", "jax"))
    assert jax.step.products == torch.step.products
    assert jax.step.moved < torch.step.moved


@pytest.mark.parametrize("name", names())
def test_every_optimizer_has_a_cost(name: str):
    shapes = [*SQUARES, Tensor((3, 3, 8, 16), "conv"), Tensor((64,), "vector")]
    found = optimizers.cost(name, shapes, "jax", 2)
    size = sum(math.prod(tensor.shape) for tensor in shapes)
    assert found.step.moved >= 4 * 3 * size  # gradient and parameter read, parameter written
    assert (found.period is None) == (found.refresh.launches == 0)
    longer = optimizers.cost(name, shapes, "jax", 2, {"refresh_every": 123})
    assert longer.period in (None, 123)


def test_rows_add_up():
    found = table(["nadamw", "shampoo", "soap"], hyperparameters={"refresh_every": 7})
    amortised = found["step_ms"] + found["refresh_ms"].fillna(0) / 7
    assert amortised.tolist() == pytest.approx(found["amortised_ms"].tolist())
    model = model_seconds(CALIBRATION, "ogbg", "pytorch", A100, middle(CALIBRATION))
    assert (model + amortised / 1e3).tolist() == pytest.approx(found["step_s"].tolist())
    assert (amortised / 1e3 / found["step_s"]).tolist() == pytest.approx(found["share"].tolist())
    assert np.isnan(found.loc["nadamw", "refresh_ms"])
    assert (found["least_s"] <= found["step_s"]).all()
    assert (found["step_s"] <= found["most_s"]).all()
    cost = optimizers.cost("soap", tables.tensors("ogbg", "pytorch"), "pytorch", 4)
    expected = seconds(cost.step, A100.gpu, 4, middle(CALIBRATION).constants)
    assert found.loc["soap", "step_ms"] == pytest.approx(1e3 * expected)


def test_time_to_target_is_steps_times_seconds():
    found = table(["nadamw", "shampoo", "muon"], step_ratio=0.6)
    whole = found["step_s"]
    assert found.loc["nadamw", "time_ratio"] == 1
    for name in ("shampoo", "muon"):
        assert found.loc[name, "time_ratio"] == pytest.approx(0.6 * whole[name] / whole["nadamw"])
    # With just so many of the others' steps, times are equal.
    even = found.loc["muon", "even_rival"]
    assert even * whole["muon"] == pytest.approx(whole["shampoo"])
    assert table(["muon"]).loc["muon", "even_baseline"] == pytest.approx(
        whole["nadamw"] / whole["muon"]
    )


def test_lower_precision_shortens_products_alone():
    exact, rough = (table(["muon", "nadamw"], precision=name) for name in ("fp32", "bf16"))
    assert rough.loc["muon", "step_ms"] < exact.loc["muon", "step_ms"]
    assert rough.loc["nadamw", "step_ms"] == exact.loc["nadamw", "step_ms"]


def test_roots_by_products_are_another_refresh():
    by_eigh, by_products = (
        table(["shampoo", "soap"], hyperparameters={"root_method": method})
        for method in ("eigh", "newton")
    )
    assert by_eigh.loc["shampoo", "refresh_ms"] != by_products.loc["shampoo", "refresh_ms"]
    assert by_eigh.loc["soap", "refresh_ms"] == by_products.loc["soap", "refresh_ms"]
    with pytest.raises(ValueError, match="refresh_every"):
        table(["soap"], hyperparameters={"refresh_every": 0})
