"""Batches of fixed size: nothing lost, nothing twice, nothing changed, little padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads_overrides.small.ogbg.batching import (
    Capacity,
    eval_shards,
    make_batch,
    shard_capacity,
    train_shards,
)
from workloads_overrides.small.ogbg.dataset import Molecules


def made_up(sizes, seed=0):
    """Molecules of the given (nodes, edges), with every number in them different."""
    rng = np.random.default_rng(seed)
    n_node, n_edge = np.array(sizes, np.int32).T
    labels = rng.integers(0, 2, (len(sizes), 4)).astype(np.float32)
    labels[rng.random(labels.shape) < 0.4] = np.nan
    nodes_of_owner = np.repeat(n_node, n_edge)
    return Molecules(
        nodes=np.arange(9 * n_node.sum(), dtype=np.float32).reshape(-1, 9),
        edges=np.arange(3 * n_edge.sum(), dtype=np.float32).reshape(-1, 3),
        receivers=rng.integers(0, nodes_of_owner, dtype=np.int32),
        senders=rng.integers(0, nodes_of_owner, dtype=np.int32),
        n_node=n_node,
        n_edge=n_edge,
        labels=labels,
        counts={"train": len(sizes)},
    )


def graph_of(molecules, i):
    nodes = molecules.nodes[molecules.node_start[i] :][: molecules.n_node[i]]
    edges = slice(molecules.edge_start[i], molecules.edge_start[i] + molecules.n_edge[i])
    return nodes, molecules.edges[edges], molecules.receivers[edges], molecules.senders[edges]


def unpacked(batch, capacity):
    """(nodes, edges, receivers, senders, targets, weights) of every graph that is no padding."""
    graph = batch["inputs"]
    shards = len(graph.n_node) // capacity.graphs
    node_ends, edge_ends = np.cumsum(graph.n_node), np.cumsum(graph.n_edge)
    for shard in range(shards):
        slots = range(shard * capacity.graphs, (shard + 1) * capacity.graphs)
        real = [i for i in slots if batch["weights"][i].any()]
        for i in real:
            nodes = slice(node_ends[i] - graph.n_node[i], node_ends[i])
            edges = slice(edge_ends[i] - graph.n_edge[i], edge_ends[i])
            yield (
                graph.nodes[nodes],
                graph.edges[edges],
                graph.receivers[edges] - nodes.start,
                graph.senders[edges] - nodes.start,
                batch["targets"][i],
                batch["weights"][i],
            )


sizes_strategy = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(sizes=sizes_strategy, per_shard=st.integers(1, 9), num_shards=st.integers(1, 4))
def test_every_molecule_comes_back_once_and_unchanged(sizes, per_shard, num_shards):
    molecules = made_up(sizes)
    molecules.labels[:, 0] = 1.0  # so that every molecule has a weight
    capacity = shard_capacity(molecules, per_shard * num_shards, num_shards)
    found = []
    for shards in eval_shards(molecules, range(len(sizes)), capacity, num_shards):
        found += unpacked(make_batch(molecules, shards, capacity), capacity)
    assert len(found) == len(sizes)
    for i, (*graph, targets, weights) in enumerate(found):
        for got, expected in zip(graph, graph_of(molecules, i), strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(weights, ~np.isnan(molecules.labels[i]))
        np.testing.assert_array_equal(targets, np.nan_to_num(molecules.labels[i]))


@settings(deadline=None, max_examples=60)
@given(
    sizes=sizes_strategy,
    per_shard=st.integers(1, 9),
    num_shards=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
)
def test_training_visits_every_molecule_once_per_pass(sizes, per_shard, num_shards, seed):
    molecules = made_up(sizes)
    capacity = shard_capacity(molecules, per_shard * num_shards, num_shards)
    stream = train_shards(molecules, range(len(sizes)), seed, capacity, num_shards)
    seen = []
    while len(seen) < 3 * len(sizes):
        for shard in next(stream):
            assert 1 <= len(shard) <= per_shard
            seen += shard.tolist()
    for one_pass in range(3):
        part = seen[one_pass * len(sizes) : (one_pass + 1) * len(sizes)]
        assert sorted(part) == list(range(len(sizes)))


@settings(deadline=None, max_examples=40)
@given(sizes=sizes_strategy, per_shard=st.integers(1, 9), num_shards=st.integers(1, 4))
def test_shapes_and_padding(sizes, per_shard, num_shards):
    molecules = made_up(sizes)
    capacity = shard_capacity(molecules, per_shard * num_shards, num_shards)
    for shards in eval_shards(molecules, range(len(sizes)), capacity, num_shards):
        batch = make_batch(molecules, shards, capacity)
        graph = batch["inputs"]
        assert graph.nodes.shape == (num_shards * capacity.nodes, 9)
        assert graph.edges.shape == (num_shards * capacity.edges, 3)
        assert graph.receivers.shape == graph.senders.shape == (num_shards * capacity.edges,)
        assert graph.n_node.shape == graph.n_edge.shape == (num_shards * (per_shard + 1),)
        assert batch["targets"].shape == batch["weights"].shape == (*graph.n_node.shape, 4)
        assert graph.globals is None
        assert all(array.dtype == np.int32 for array in graph[2:] if array is not None)
        assert all(array.dtype == np.float32 for array in (*graph[:2], batch["targets"]))
        per = graph.n_node.reshape(num_shards, -1).sum(1), graph.n_edge.reshape(num_shards, -1)
        assert (per[0] == capacity.nodes).all()
        assert (per[1].sum(1) == capacity.edges).all()
        owner = np.repeat(np.arange(len(graph.n_node)), graph.n_node)
        edge_owner = np.repeat(np.arange(len(graph.n_edge)), graph.n_edge)
        assert (owner[graph.receivers] == edge_owner).all(), "edges stay within their graph"
        assert (owner[graph.senders] == edge_owner).all()


@pytest.mark.parametrize(("batch_size", "num_shards"), [(7, 2), (0, 1), (4, 8)])
def test_batch_size_must_be_a_multiple_of_the_devices(batch_size, num_shards):
    with pytest.raises(ValueError, match=f"batch size {batch_size} .* {num_shards} devices"):
        shard_capacity(made_up([(3, 4)]), batch_size, num_shards)


def test_room_is_for_the_average_and_at_least_for_the_largest():
    sizes = [(2, 2)] * 99 + [(9, 20)]
    assert Capacity.of(made_up(sizes), 1) == Capacity(graphs=2, nodes=10, edges=20)
    roomy = Capacity.of(made_up(sizes), 400)
    assert 2.07 * 400 < roomy.nodes < 2.2 * 400


def test_what_fits_leaves_a_node_for_padding():
    molecules = made_up([(3, 2), (4, 2), (1, 2), (1, 7)])
    ids = np.arange(4)
    assert Capacity(graphs=5, nodes=7, edges=99).count_fitting(molecules, ids) == 1
    assert Capacity(graphs=5, nodes=8, edges=99).count_fitting(molecules, ids) == 2
    assert Capacity(graphs=5, nodes=99, edges=6).count_fitting(molecules, ids) == 3
    assert Capacity(graphs=3, nodes=99, edges=99).count_fitting(molecules, ids) == 2


def test_the_stream_depends_on_the_seed_only(molecules):
    capacity = shard_capacity(molecules, 128, 1)
    ids = molecules.split_range("train")

    def first(seed):
        stream = train_shards(molecules, ids, seed, capacity, 1)
        return np.concatenate([next(stream)[0] for _ in range(130)])  # more than one pass

    np.testing.assert_array_equal(first(7), first(7))
    assert (first(7)[:500] != first(8)[:500]).mean() > 0.99
    one = first(7)
    assert (one[: len(ids)][:600] != one[len(ids) :][:600]).mean() > 0.9, "another order each pass"


def test_training_never_sees_a_held_out_molecule(molecules):
    ids = molecules.split_range("train")
    stream = train_shards(molecules, ids, 0, shard_capacity(molecules, 1024, 1), 1)
    seen = np.concatenate([next(stream)[0] for _ in range(40)])
    assert set(seen) == set(ids)


def test_real_batches_are_nearly_full(molecules):
    capacity = shard_capacity(molecules, 128, 1)
    stream = train_shards(molecules, molecules.split_range("train"), 0, capacity, 1)
    counts = [len(next(stream)[0]) for _ in range(200)]
    assert np.mean(counts) > 127
    assert capacity.nodes < 1.1 * 128 * molecules.n_node.mean()
