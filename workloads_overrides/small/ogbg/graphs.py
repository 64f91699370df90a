"""A batch of graphs, with jraph's field names and order, so that jraph's users feel at home."""

from typing import Any, NamedTuple

NODE_FEATURES = 9  # columns of `nodes`: see features.ATOM_FEATURES
EDGE_FEATURES = 3  # columns of `edges`: see features.BOND_FEATURES


class GraphsTuple(NamedTuple):
    """G graphs with N nodes and E edges in all, one graph after the other."""

    nodes: Any  # (N, 9) float32
    edges: Any  # (E, 3) float32
    receivers: Any  # (E,) int32: the node that an edge leads to
    senders: Any  # (E,) int32: the node that it comes from
    globals: Any  # None: the model starts from zeros
    n_node: Any  # (G,) int32, sum N
    n_edge: Any  # (G,) int32, sum E
