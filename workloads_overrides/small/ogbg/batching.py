"""Batches of fixed size from molecules of any size, in NumPy, the same for both frameworks.

A global batch is `num_shards` shards, one per device, each complete in itself: up to b =
batch size / num_shards molecules, then one padding graph that takes the unused nodes and
edges. A shard has room for b molecules of average size and MARGIN standard deviations of their
sum. A molecule that does not fit opens the next shard; that is the whole scheme, so every
molecule is used exactly once per pass and a batch holds now and then a few fewer than b.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from .dataset import Molecules
from .graphs import GraphsTuple

MARGIN = 2.0

Shards = list[np.ndarray]  # one array of molecule numbers per shard


@dataclass(frozen=True)
class Capacity:
    """The sizes of one shard's arrays: slots for graphs, nodes and edges, padding included."""

    graphs: int
    nodes: int
    edges: int

    @classmethod
    def of(cls, molecules: Molecules, graphs: int) -> "Capacity":
        """Room for `graphs` molecules, as the module's docstring says."""
        return cls(
            graphs=graphs + 1,
            nodes=_room(molecules.n_node, graphs) + 1,
            edges=_room(molecules.n_edge, graphs),
        )

    def count_fitting(self, molecules: Molecules, ids: np.ndarray) -> int:
        """How many of the first molecules in `ids` fit; one node at least is left for padding."""
        ids = ids[: self.graphs - 1]
        nodes = np.searchsorted(np.cumsum(molecules.n_node[ids]), self.nodes - 1, side="right")
        edges = np.searchsorted(np.cumsum(molecules.n_edge[ids]), self.edges, side="right")
        return int(min(nodes, edges))


def _room(sizes: np.ndarray, graphs: int) -> int:
    expected = sizes.mean() * graphs + MARGIN * sizes.std() * np.sqrt(graphs)
    return int(max(np.ceil(expected), sizes.max()))


def shard_capacity(molecules: Molecules, batch_size: int, num_shards: int) -> Capacity:
    """Raises ValueError unless `num_shards` divides `batch_size`."""
    if batch_size < num_shards or batch_size % num_shards:
        raise ValueError(f"batch size {batch_size} is not a multiple of {num_shards} devices")
    return Capacity.of(molecules, batch_size // num_shards)


def train_shards(
    molecules: Molecules, ids: range, seed: int, capacity: Capacity, num_shards: int
) -> Iterator[Shards]:
    """Endless. Passes over `ids` follow each other without a gap, each in a new random order."""
    rng = np.random.default_rng(seed)
    queue = np.empty(0, np.int64)
    while True:
        shards = []
        for _ in range(num_shards):
            while len(queue) < capacity.graphs - 1:
                queue = np.concatenate([queue, rng.permutation(ids)])
            count = capacity.count_fitting(molecules, queue)
            shards.append(queue[:count])
            queue = queue[count:]
        yield shards


def eval_shards(
    molecules: Molecules, ids: range, capacity: Capacity, num_shards: int
) -> list[Shards]:
    """Every molecule of `ids` once, in order; the last batch is filled up with empty shards."""
    queue = np.array(ids, np.int64)
    shards: Shards = []
    while len(queue):
        count = capacity.count_fitting(molecules, queue)
        shards.append(queue[:count])
        queue = queue[count:]
    shards += repeat(queue, -len(shards) % num_shards)
    return [shards[i : i + num_shards] for i in range(0, len(shards), num_shards)]


def make_batch(molecules: Molecules, shards: Sequence[np.ndarray], capacity: Capacity) -> dict:
    """The batch of these shards, one after the other.

    Returns:
        inputs: GraphsTuple of NumPy arrays; targets: (graphs, 30) float32, 0 where unmeasured;
        weights: (graphs, 30) float32, 1 where measured, 0 elsewhere and in padding.
    """
    parts = [_make_shard(molecules, ids, capacity) for ids in shards]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    offsets = np.repeat(np.arange(len(parts), dtype=np.int32) * capacity.nodes, capacity.edges)
    return {
        "targets": joined.pop("targets"),
        "weights": joined.pop("weights"),
        "inputs": GraphsTuple(
            receivers=joined.pop("receivers") + offsets,
            senders=joined.pop("senders") + offsets,
            globals=None,
            **joined,
        ),
    }


def _make_shard(molecules: Molecules, ids: np.ndarray, size: Capacity) -> dict[str, Any]:
    n_node, n_edge = molecules.n_node[ids], molecules.n_edge[ids]
    num_nodes, num_edges = int(n_node.sum()), int(n_edge.sum())
    node_rows = _ranges(molecules.node_start[ids], n_node)
    edge_rows = _ranges(molecules.edge_start[ids], n_edge)
    first_node = np.repeat(np.cumsum(n_node, dtype=np.int32) - n_node, n_edge)
    labels = molecules.labels[ids]
    measured = ~np.isnan(labels)
    # Padding edges run from the first padding node to itself.
    return {
        "nodes": _filled(size.nodes, molecules.nodes[node_rows]),
        "edges": _filled(size.edges, molecules.edges[edge_rows]),
        "receivers": _filled(size.edges, molecules.receivers[edge_rows] + first_node, num_nodes),
        "senders": _filled(size.edges, molecules.senders[edge_rows] + first_node, num_nodes),
        "n_node": _sizes(n_node, size.graphs, size.nodes - num_nodes),
        "n_edge": _sizes(n_edge, size.graphs, size.edges - num_edges),
        "targets": _filled(size.graphs, np.where(measured, labels, np.float32(0))),
        "weights": _filled(size.graphs, measured.astype(np.float32)),
    }


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... for each (start, length), one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


def _filled(size: int, rows: np.ndarray, fill: int = 0) -> np.ndarray:
    """`rows`, then rows of `fill` up to `size`."""
    array = np.full((size, *rows.shape[1:]), fill, rows.dtype)
    array[: len(rows)] = rows
    return array


def _sizes(sizes: np.ndarray, graphs: int, padding: int) -> np.ndarray:
    """Graph sizes with the padding graph right after the last molecule, then empty graphs."""
    return _filled(graphs, np.append(sizes, np.int32(padding)).astype(np.int32))
