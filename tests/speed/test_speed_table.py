"""The table of step times: medians, periods, floors, memory, ratios."""

import dataclasses
import math

import pytest

from speed import table as tables
from speed.devices import Counted
from speed.floor import FloorSetup, Rates
from speed.work import Work
from speed.worker import Measured, Setup

SIZE = (2, 2, 2)
WORK = Work(
    products={SIZE: 40.0},
    refresh_products={SIZE: 200.0},
    largest_refresh={SIZE: 100.0},
    refresh_flops=200.0,
    step_bytes=30,
    refresh_bytes=10,
    state_bytes=1_500_000,
    largest_stack_bytes=500_000,
)
PLAIN_WORK = Work(step_bytes=10, state_bytes=1_000_000, largest_stack_bytes=1)
ADAMW = Setup("pytorch", "torch_adamw_fused", "ogbg")
SOAP = Setup("pytorch", "soap", "ogbg")


def measured(plain: list[float], refresh: list[float] | None = None, **changes) -> Measured:
    values = {"compile_s": 0.0, "state_bytes": 2_000_000, "temporary_bytes": 1_000_000}
    return Measured(plain, refresh or [], **{**values, **changes})


def table(results, counted=None):
    """With a rate of 4,000 operations and a bandwidth of 1,000 bytes per second everywhere."""
    setups = {dataclasses.replace(setup, rank=0) for setup, _ in results}
    works = {setup: WORK if setup.contender == "soap" else PLAIN_WORK for setup in setups}
    places = {(setup.framework, setup.model, setup.threads) for setup in setups}
    rates = [(FloorSetup(*place, (SIZE,), 1), Rates([4000.0], 1000.0)) for place in places]
    return tables.table(results, works, rates, counted)


def test_medians_over_all_steps_of_all_repeats():
    found = table(
        [
            (ADAMW, measured([0.002, 0.001, 0.001])),
            (SOAP, measured([0.010, 0.030], [0.1], compile_s=3.0)),
            (ADAMW, measured([0.001, 0.009])),
            (SOAP, measured([0.020], [0.3], compile_s=5.0, temporary_bytes=7_000_000)),
        ]
    )
    adamw, soap = found.to_dict("records")
    assert (adamw["contender"], adamw["plain_ms"]) == ("torch_adamw_fused", pytest.approx(1.0))
    assert math.isnan(adamw["refresh_ms"])
    assert adamw["amortised_ms"] == adamw["plain_ms"]
    assert soap["plain_ms"] == pytest.approx(20.0)
    assert soap["refresh_ms"] == pytest.approx(200.0)
    # Nine steps of 20 ms and one of 200 ms.
    assert soap["amortised_ms"] == pytest.approx(38.0)
    assert soap["p50_ms"] == pytest.approx(30.0)
    assert soap["max_ms"] == pytest.approx(300.0)
    assert 100.0 < soap["p95_ms"] < 300.0
    assert (soap["compile_s"], soap["state_mb"], soap["temporary_mb"]) == (4.0, 2.0, 7.0)
    assert (adamw["ratio"], soap["ratio"]) == (1.0, pytest.approx(38.0))


def test_the_longest_step_of_every_repeat_over_its_median():
    runs = [[0.01, 0.01, 0.02], [0.01, 0.01, 0.04], [0.02, 0.02, 0.06]]
    (row,) = table([(SOAP, measured(run)) for run in runs]).to_dict("records")
    assert row["max_over_p50"] == pytest.approx(3.0)  # of 2, 4 and 3


def test_floors():
    (adamw, soap) = table([(ADAMW, measured([0.02])), (SOAP, measured([0.08], [0.2]))]).to_dict(
        "records"
    )
    assert soap["floor_ms"] == pytest.approx(10 + 30)
    assert soap["over_floor"] == pytest.approx(2.0)
    assert soap["refresh_floor_ms"] == pytest.approx(50 + 10)
    assert soap["amortised_floor_ms"] == pytest.approx(40 + 6)
    assert soap["matrix_refresh_ms"] == pytest.approx(25)
    assert adamw["floor_ms"] == adamw["amortised_floor_ms"] == pytest.approx(10)
    assert math.isnan(adamw["refresh_floor_ms"])
    assert adamw["over_floor"] == pytest.approx(2.0)


def test_the_best_rates_of_all_repeats():
    place = FloorSetup("pytorch", "ogbg", 1, (SIZE,), 1)
    rates = [(place, Rates([4000.0], 500.0)), (place, Rates([2000.0], 1000.0))]
    found = tables.table([(SOAP, measured([0.08]))], {SOAP: WORK}, rates)
    assert found["floor_ms"].tolist() == pytest.approx([40.0])


def test_memory_beside_the_formulas():
    (row,) = table([(SOAP, measured([0.01]))]).to_dict("records")
    assert (row["formula_mb"], row["stack_mb"]) == (1.5, 0.5)


def test_the_period_is_the_setups():
    every = Setup("pytorch", "soap", "ogbg", refresh_every=2)
    (row,) = table([(every, measured([0.010], [0.030]))]).to_dict("records")
    assert row["amortised_ms"] == pytest.approx(20.0)
    assert row["amortised_floor_ms"] == pytest.approx(40 + 30)


def test_ratios_are_to_the_reference_of_the_same_place():
    found = table(
        [
            (ADAMW, measured([0.001])),
            (Setup("pytorch", "torch_adamw_fused", "ogbg", threads=2), measured([0.002])),
            (Setup("pytorch", "muon", "ogbg", threads=2), measured([0.010])),
            (Setup("pytorch", "muon", "wmt"), measured([0.010])),
            (Setup("jax", "muon", "ogbg"), measured([0.010])),
        ]
    )
    ratios = found["ratio"].tolist()
    assert ratios[:3] == pytest.approx([1.0, 1.0, 5.0])
    assert all(math.isnan(ratio) for ratio in ratios[3:])


def test_staggered_steps_have_period_means_only():
    setup = Setup("pytorch", "soap", "ogbg", refresh_every=2, settings=(("stagger", True),))
    runs = [[0.010, 0.030, 0.020, 0.040], [0.010, 0.090]]
    (row,) = table([(setup, measured(run)) for run in runs]).to_dict("records")
    assert row["staggered"]
    assert math.isnan(row["plain_ms"])
    assert math.isnan(row["refresh_ms"])
    assert math.isnan(row["over_floor"])
    assert row["amortised_ms"] == pytest.approx(30.0)  # of 20, 30 and 50
    assert row["p50_ms"] == pytest.approx(25.0)
    assert row["max_over_p50"] == pytest.approx((40 / 25 + 90 / 50) / 2)


def test_families():
    peer = Setup("pytorch", "torch_muon", "ogbg")
    found = table([(ADAMW, measured([0.1])), (SOAP, measured([0.1])), (peer, measured([0.1]))])
    assert found["family"].tolist() == ["nadamw", "soap", "muon"]
    assert not found["staggered"].any()


def test_every_rank_has_its_row():
    """Of three equal matrices the first rank gets two."""
    model = "3x4x4"
    ranks = [Setup("pytorch", "soap", model, ranks=2, rank=rank) for rank in (0, 1)]
    results = [
        (Setup("pytorch", "torch_adamw_fused", model), measured([0.001])),
        (Setup("pytorch", "soap", model), measured([0.002], [0.010])),
        (ranks[0], measured([0.002], [0.006])),
        (ranks[1], measured([0.002], [0.007])),
        (ranks[0], measured([0.002], [0.008])),
        (ranks[1], measured([0.002], [0.009])),
    ]
    found = table(results)
    assert found["ranks"].tolist() == [1, 1, 2, 2]
    assert found["rank"].tolist() == [0, 0, 0, 1]
    assert found["refresh_share"][2:].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found["refresh_share"].isna().tolist() == [True, True, False, False]
    assert found["refresh_ms"][1:].tolist() == pytest.approx([10.0, 7.0, 8.0])
    assert found["floor_ms"][2] == found["floor_ms"][1] > 0
    assert found["ratio"].notna().all()


def test_cost_per_parameter():
    (row,) = table([(Setup("pytorch", "muon", "10x4x5"), measured([0.001]))]).to_dict("records")
    assert (row["parameters"], row["ns_per_parameter"]) == (200, pytest.approx(5000.0))


def test_what_devices_decompose():
    other, newton = Setup("jax", "muon", "ogbg"), Setup("jax", "shampoo", "ogbg")
    soap = Setup("jax", "soap", "ogbg")
    counted = {soap: Counted(8, [[4, 1], [9, 3]]), newton: Counted(8, [])}
    found = table([(each, measured([0.1])) for each in (soap, other, newton)], counted)
    assert found["devices"].tolist() == [8, 1, 8]
    assert found["over_share"][0] == pytest.approx(1.5)
    assert found["over_share"][1:].isna().all()
    assert found["device_shares"].tolist() == ["4:1, 9:3", "", ""]


def test_what_is_shown():
    """Columns that all rows agree in are not asked for."""
    plain = tables.shown(table([(SOAP, measured([0.1]))]))
    assert "ns_per_parameter" not in plain
    assert "rank" not in plain
    assert "share" not in plain
    assert "0.1" not in plain  # of a second
    assert "100 " in plain
    shared = Setup("pytorch", "soap", "3x4x4", ranks=2)
    found = tables.shown(table([(shared, measured([0.1]))], {shared: Counted(8, [[3, 1]])}))
    for name in ("ranks", "rank", "refresh_share", "ns_per_parameter", "over_share", "3:1"):
        assert name in found.split()
