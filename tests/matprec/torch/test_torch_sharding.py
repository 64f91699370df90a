"""Two ranks that share refreshes do what one process does; one launch serves all tests here.

What a rank does stands in tests/support/torch_shards.py.
"""

import functools
import itertools

import optimizers
import pytest
import torch
import torch_shards as shards
import torch_steps
from torch_shards import DTYPES, EVERY, FAILURE, MIDDLE, SHAPES, STEPS
from torch_steps import assert_close
from workload_processes import run_pytorch_ranks

names = pytest.mark.parametrize("name", optimizers.NAMES)
refreshing = pytest.mark.parametrize("name", optimizers.REFRESHING_NAMES)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)

MATRICES = [index for index, shape in enumerate(SHAPES) if len(shape) > 1 and 0 not in shape]
MISSED = 6  # has no gradient in one step before FAILURE

CODE = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/support"]
import torch_shards
torch_shards.main(Path(sys.argv[1]), sys.argv[2].split(","))
"""


@functools.cache
def alone(name, dtype, steps):
    """(state dict, parameters) of one process."""
    params, optimizer = shards.make(name, dtype)
    shards.train(optimizer, params, 0, steps)
    return optimizer.state_dict(), torch_steps.values(params)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What the two ranks have written."""
    folder = tmp_path_factory.mktemp("ranks")
    keys = itertools.product(optimizers.NAMES, DTYPES)
    torch.save({key: alone(*key, MIDDLE) for key in keys}, folder / "start.pt")
    run_pytorch_ranks(CODE, folder, ",".join(optimizers.NAMES))
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def assert_same_state(state, other, compare):
    assert state["param_groups"] == other["param_groups"]
    assert state["state"].keys() == other["state"].keys() == set(range(len(SHAPES)))
    for index, arrays in state["state"].items():
        assert arrays.keys() == other["state"][index].keys()
        for key, found in arrays.items():
            compare(found, other["state"][index][key])


def assert_equal(tensors, others):
    assert all(torch.equal(x, y) for x, y in zip(tensors, others, strict=True))


@names
@dtypes
def test_two_ranks_do_what_one_process_does(name, dtype, ranks):
    state, values = alone(name, dtype, STEPS)
    for results, _ in ranks:
        mine = results[name, dtype]
        assert_close(mine["params"], values)
        assert_same_state(mine["end"], state, assert_close)


@names
@dtypes
def test_ranks_are_equal_bit_for_bit(name, dtype, ranks):
    first, second = (results[name, dtype] for results, _ in ranks)
    for key in ("params", "resumed", "failed"):
        assert_equal(first[key], second[key])
    for key in ("end", "failed_end"):
        assert_same_state(first[key], second[key], assert_equal)


@names
@dtypes
def test_a_checkpoint_of_rank_0_alone_is_whole(name, dtype, ranks):
    """Taken while rank 1 goes on; one process continues from it."""
    taken = ranks[0][0][name, dtype]["middle"]
    assert ranks[1][0][name, dtype]["middle"] is None
    state, _ = alone(name, dtype, MIDDLE)
    assert_same_state(taken[0], state, assert_close)
    params, optimizer = shards.resumed(name, dtype, taken)
    shards.train(optimizer, params, MIDDLE, STEPS)
    assert_close(torch_steps.values(params), ranks[0][0][name, dtype]["params"])


@names
@dtypes
def test_two_ranks_continue_from_a_checkpoint_of_one_process(name, dtype, ranks):
    for results, _ in ranks:
        assert_close(results[name, dtype]["resumed"], alone(name, dtype, STEPS)[1])


def test_one_collective_per_step_with_a_refresh(ranks):
    for (name, dtype), mine in ranks[0][0].items():
        refreshes = mine["collectives"]
        assert refreshes == ranks[1][0][name, dtype]["collectives"]
        if name not in optimizers.REFRESHING_NAMES:
            assert refreshes == 0
            continue
        every = mine["end"]["param_groups"][0]["refresh_every"]
        assert every in (EVERY, 1)
        # One more for the late first refresh of one matrix.
        assert refreshes == -(-STEPS // every) + (every > 1)


@refreshing
@dtypes
def test_a_factorisation_that_gives_up_on_one_rank(name, dtype, ranks):
    """Its share keeps what it had and is counted, the other rank's is refreshed; nobody hangs."""
    for results, _ in ranks:
        state = results[name, dtype]["failed_end"]["state"]
        every = results[name, dtype]["failed_end"]["param_groups"][0]["refresh_every"]
        counts = []
        for index, arrays in state.items():
            if index not in MATRICES:
                continue
            (count,) = arrays["failed_roots"]
            counts.append(float(count))
            # With a refresh in every step the one after the failure has made up for it.
            last = FAILURE + 2 if every == 1 else FAILURE + 1 - EVERY * counts[-1]
            # `last_refresh` counts the updates a matrix has seen.
            assert arrays["last_refresh"][0] == last - (index == MISSED)
        assert sorted(set(counts)) == [0, 1]
        assert len(counts) == len(MATRICES)
        assert all(torch.isfinite(x).all() for x in results[name, dtype]["failed"])


def test_ranks_share_what_is_due(ranks):
    """The dearest of four matrices outweighs the others; of five alike one rank takes three."""
    (_, first), (_, second) = ranks
    assert (first["shared"], second["shared"]) == ([1], [1, 1, 1])
    assert (first["five"], second["five"]) == ([3], [2])


def test_no_sharding_where_it_is_switched_off(ranks):
    for _, counts in ranks:
        assert counts["alone"] == [1, 1, 1, 1]
        assert counts["collectives alone"] == 0


def test_one_process_asks_nobody(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a collective without ranks")

    monkeypatch.setattr(torch.distributed, "all_gather", refuse)
    assert not torch.distributed.is_initialized()
    assert shards.sizes_of_factorisations(shards.SINGLE) == [1, 1, 1, 1]


@names
def test_only_known_ways_of_sharding(name):
    cls = optimizers.torch_class(name).__name__
    with pytest.raises(ValueError, match=f"{cls}: shard='rows' is not 'refresh', 'all' or None"):
        shards.make(name, torch.float64, shard="rows")
