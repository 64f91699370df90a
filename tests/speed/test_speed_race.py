"""The table of step times: medians, periods, ratios; and workers that fail."""

import math

import pytest

from speed.contenders import REFERENCES, contenders, refreshes
from speed.race import StepError, run, schedule, table
from speed.worker import Measured, Setup
from submissions.registry import OPTIMIZERS


def measured(plain: list[float], refresh: list[float] | None = None, **changes) -> Measured:
    values = {"compile_s": 0.0, "state_bytes": 2_000_000, "temporary_bytes": 1_000_000}
    return Measured(plain, refresh or [], **{**values, **changes})


ADAMW = Setup("pytorch", "torch_adamw_fused", "ogbg")
SOAP = Setup("pytorch", "soap", "ogbg")


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
    assert soap["max_ms"] == pytest.approx(300.0)
    assert soap["p95_ms"] < 300.0
    assert (soap["compile_s"], soap["state_mb"], soap["temporary_mb"]) == (4.0, 2.0, 7.0)
    assert (adamw["ratio"], soap["ratio"]) == (1.0, pytest.approx(38.0))


def test_the_period_is_the_setups():
    every = Setup("pytorch", "soap", "ogbg", refresh_every=2)
    (row,) = table([(every, measured([0.010], [0.030]))]).to_dict("records")
    assert row["amortised_ms"] == pytest.approx(20.0)


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


def test_repeats_are_taken_in_turn():
    assert list(schedule([ADAMW, SOAP], 2)) == [ADAMW, SOAP, ADAMW, SOAP]


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_contenders_are_the_references_and_all_optimizers_of_ours(framework: str):
    names = contenders(framework)
    assert tuple(names[: len(REFERENCES[framework])]) == REFERENCES[framework]
    own = {name for name, optimizer in OPTIMIZERS.items() if optimizer.algorithm}
    assert set(names) == own | set(REFERENCES[framework])


def test_which_have_steps_of_two_kinds():
    assert refreshes("soap")
    assert refreshes("shampoo")
    assert not refreshes("muon")
    assert not refreshes("torch_adamw_fused")


def test_a_worker_that_fails_says_why_in_one_line():
    with pytest.raises(StepError) as error:
        run(Setup("pytorch", "soap", "mnist"))
    assert "soap on mnist (pytorch): ValueError: unknown model 'mnist'" in str(error.value)
    assert "\n" not in str(error.value)
