"""`shard="all"`: every parameter has one rank that keeps its state and steps it.

Two ranks do what one process does; one launch serves all tests here. What a rank does stands in
tests/support/torch_owners.py.
"""

import functools

import optimizers
import pytest
import torch
import torch_steps
from torch_owners import CASES, MIDDLE, STEPS
from torch_steps import assert_close
from workload_processes import run_pytorch_ranks

from matprec.torch.ownership import Ownership

names = pytest.mark.parametrize("name", optimizers.NAMES)
cases = pytest.mark.parametrize("case", CASES)

CODE = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/support"]
import torch_owners
torch_owners.main(Path(sys.argv[1]))
"""


@functools.cache
def alone(case, steps):
    """(state dict, parameters) of one process."""
    params, optimizer = CASES[case].make()
    CASES[case].train(optimizer, params, 0, steps)
    return optimizer.state_dict(), torch_steps.values(params)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What the two ranks have written."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save({case: alone(case, MIDDLE) for case in CASES}, folder / "start.pt")
    run_pytorch_ranks(CODE, folder)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def of_case(ranks, case):
    return [results[case] for results, _ in ranks]


def assert_equal(tensors, others):
    assert all(torch.equal(x, y) for x, y in zip(tensors, others, strict=True))


def assert_same_state(state, other, compare):
    assert [group["count"] for group in state["param_groups"]] == [
        group["count"] for group in other["param_groups"]
    ]
    assert list(state["state"]) == list(other["state"])
    for index, arrays in state["state"].items():
        assert arrays.keys() == other["state"][index].keys()
        for key, found in arrays.items():
            compare(found, other["state"][index][key])


def size(arrays):
    """Bytes of the state of one parameter."""
    return sum(x.nbytes for matrices in arrays.values() for x in matrices if x is not None)


@cases
def test_two_ranks_do_what_one_process_does(case, ranks):
    state, values = alone(case, STEPS)
    first, second = of_case(ranks, case)
    assert_close(first["params"], values)
    assert_same_state(first["whole"], state, assert_close)
    assert_equal(second["params"], first["params"])


@cases
def test_a_rank_keeps_its_share_of_the_state_and_no_more(case, ranks):
    state, _ = alone(case, STEPS)
    sizes = {index: size(arrays) for index, arrays in state["state"].items()}
    mine = [found["own"]["state"] for found in of_case(ranks, case)]
    assert not mine[0].keys() & mine[1].keys()
    assert mine[0].keys() | mine[1].keys() == sizes.keys()
    kept = [sum(map(size, part.values())) for part in mine]
    assert sum(kept) == sum(sizes.values())
    assert max(kept) <= sum(sizes.values()) / 2 + max(sizes.values())
    assert min(kept) > 0


@cases
def test_what_is_gathered_is_what_the_ranks_have(case, ranks):
    first, second = of_case(ranks, case)
    whole = {**first["own"]["state"], **second["own"]["state"]}
    assert list(first["whole"]["state"]) == sorted(whole)
    assert_same_state(
        first["whole"], first["own"] | {"state": dict(sorted(whole.items()))}, assert_equal
    )
    assert_same_state(second["whole"], second["own"], assert_equal)


@cases
def test_one_process_goes_on_from_a_gathered_checkpoint(case, ranks):
    """Taken by rank 0 alone while rank 1 goes on, with either way of sharding."""
    first, second = of_case(ranks, case)
    assert second["middle"] is None
    assert_same_state(first["middle"][0], alone(case, MIDDLE)[0], assert_close)
    for shard in ("all", "refresh"):
        params, optimizer = CASES[case].resumed(first["middle"], shard=shard)
        CASES[case].train(optimizer, params, MIDDLE, STEPS)
        assert_close(torch_steps.values(params), first["params"])


@cases
def test_ranks_go_on_from_a_checkpoint_of_one_process(case, ranks):
    for found in of_case(ranks, case):
        assert_close(found["resumed"], alone(case, STEPS)[1])
        assert_close(found["refreshed"], alone(case, STEPS)[1])


@cases
def test_one_collective_per_step_and_dtype(case, ranks):
    for found in of_case(ranks, case):
        assert found["collectives"] == STEPS * len(set(CASES[case].dtypes))


def test_an_incomplete_state_dict_is_refused(ranks):
    for case in ("shampoo", "many groups"):
        state, values = alone(case, STEPS)
        for found in of_case(ranks, case):
            count = len(values) - len(found["own"]["state"])
            params, optimizer = CASES[case].make()
            CASES[case].train(optimizer, params, 0, 1)
            with pytest.raises(ValueError, match=f"lacks {count} of {len(values)} param") as error:
                optimizer.load_state_dict(found["own"])
            assert "gather_state()" in str(error.value)
            assert "\n" not in str(error.value)
            assert [g["count"] for g in optimizer.state_dict()["param_groups"]] == [
                1 for _ in state["param_groups"]
            ]


def test_a_factorisation_that_gives_up_on_one_rank(ranks):
    """The state of that rank's matrices keeps what it had, and all ranks hold the same values."""
    (results, first), (others, second) = ranks
    state, values = first["failed"]
    assert_equal(values, second["failed"][1])
    assert all(torch.isfinite(value).all() for value in values)
    of_second = others["shampoo"]["own"]["state"].keys()
    failed = {
        index
        for index, arrays in state["state"].items()
        if any(x.any() for x in arrays.get("failed_roots", ()))
    }
    matrices = {
        index
        for index, arrays in results["shampoo"]["whole"]["state"].items()
        if any("root" in key and key != "failed_roots" for key in arrays)
    }
    assert failed == of_second & matrices != set()


def test_copies_on_the_same_rank(ranks):
    for _, found in ranks:
        for values in found["copied"][:-1]:
            assert_equal(values, found["copied"][-1])


def test_many_small_groups_and_later_ones_are_spread(ranks):
    """Of eight equal matrices in five groups, two of which came later, each rank has four."""
    (_, first), (_, second) = ranks
    mine = [found["growing"]["states"] for _, found in ranks]
    assert sorted(mine[0] + mine[1]) == list(range(8))
    assert len(mine[0]) == 4
    assert_equal(first["growing"]["params"], second["growing"]["params"])


def test_a_rank_may_have_nothing_to_do(ranks):
    (_, first), (_, second) = ranks
    assert first["single"][:2] == [[0], [0]]
    assert second["single"][:2] == [[], []]
    assert_equal(first["single"][2], second["single"][2])


def test_the_owner_alone_refreshes(ranks):
    """Each of four matrices once."""
    assert [found["factorisations"] for _, found in ranks] == [[1, 1], [1, 1]]


def test_a_rank_left_alone_does_not_go_on_with_a_part(ranks):
    for rank, (_, found) in enumerate(ranks):
        message = f"this optimizer holds the state of rank {rank} of 2, and runs as rank 0 of 1"
        assert found["left alone"].startswith(message)
        assert found["untouched"]


@names
def test_one_process_is_the_same_without_sharding(name, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a collective without ranks")

    monkeypatch.setattr(torch.distributed, "all_gather", refuse)
    monkeypatch.setattr(torch.distributed, "gather_object", refuse)
    params, optimizer = CASES[name].make(shard=None)
    CASES[name].train(optimizer, params, 0, MIDDLE)
    state, values = alone(name, MIDDLE)
    assert_equal(torch_steps.values(params), values)
    assert_same_state(optimizer.state_dict(), state, assert_equal)
    other_params, other = CASES[name].make()
    CASES[name].train(other, other_params, 0, MIDDLE)
    other.gather_state()
    assert_same_state(other.state_dict(), state, assert_equal)


def test_a_sparse_gradient_of_a_later_group_stops_the_step_before_anything_moves():
    params = torch_steps.parameters([(4, 3), (5, 2)])
    optimizer = torch_steps.make("asgo", [{"params": [param]} for param in params], shard="all")
    params[0].grad = torch.ones(4, 3, dtype=torch.float64)
    params[1].grad = torch.ones(5, 2, dtype=torch.float64).to_sparse()
    before = torch_steps.values(params)
    with pytest.raises(RuntimeError, match="sparse gradients"):
        optimizer.step()
    assert_equal(torch_steps.values(params), before)


def test_ownership_counts_what_ranks_have_already():
    """A group that comes later fills up the others."""
    mine = Ownership(rank=1, ranks=3)
    mine.extend([[4.0], [1.0, 1.0]])
    mine.extend([[2.0, 1.0]])
    assert mine.owners == [[0], [1, 2], [1, 2]]
    assert mine.loads == [4.0, 3.0, 2.0]
    assert [mine.of_mine(group) for group in range(3)] == [[], [0], [0]]
