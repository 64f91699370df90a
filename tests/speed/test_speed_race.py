"""Races: who takes part, in which order, what of the machine is measured, workers that fail."""

import pytest

from speed import race
from speed.contenders import REFERENCES, contenders, family, refreshes
from speed.floor import FloorSetup
from speed.race import StepError, run, schedule
from speed.work import Work
from speed.worker import Setup
from submissions.registry import OPTIMIZERS

ADAMW = Setup("pytorch", "torch_adamw_fused", "ogbg")
SOAP = Setup("pytorch", "soap", "ogbg")


def test_repeats_are_taken_in_turn():
    assert list(schedule([ADAMW, SOAP], 2)) == [ADAMW, SOAP, ADAMW, SOAP]


def test_every_contender_has_its_familys_work():
    setups = [Setup("pytorch", name, "llama_small") for name in ("soap", "soap_reference")]
    ours, theirs = race.works(setups).values()
    assert ours == theirs
    assert ours.step_flops > 0


def test_the_machine_is_measured_once_per_place_at_all_its_sizes():
    small = Work(products={(2, 2, 2): 1.0}, step_bytes=80)
    large = Work(refresh_products={(8, 8, 8): 1.0}, step_bytes=800)
    two = Setup("pytorch", "soap", "ogbg", threads=2)
    assert race.floors({ADAMW: small, SOAP: large, two: large}) == [
        FloorSetup("pytorch", "ogbg", 1, ((2, 2, 2), (8, 8, 8)), 10),
        FloorSetup("pytorch", "ogbg", 2, ((8, 8, 8),), 100),
    ]


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
    assert refreshes("pytorch_optimizer_soap")
    assert not refreshes("torch_muon")


def test_families():
    assert family("torch_adamw_fused") == family("optax_adamw") == "nadamw"
    assert family("soap") == "soap"
    assert family("distributed_shampoo") == "shampoo"


def test_a_worker_that_fails_says_why_in_one_line():
    with pytest.raises(StepError) as error:
        run(Setup("pytorch", "soap", "mnist"))
    assert "soap on mnist (pytorch): ValueError: unknown model 'mnist'" in str(error.value)
    assert "\n" not in str(error.value)
