"""The graph network of AlgoPerf's OGBG workload in PyTorch: same layers, same order of inputs.

Written from the architecture, not from its code; module for module as `ogbg_jax.models`, with
the same names, which `param_map` relies on.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....base.pytorch_init import lecun_normal_
from ..graphs import GraphsTuple

Part = tuple[Tensor, Tensor | None]  # values, and which of its rows are meant (None: all)


class PartsDense(nn.Linear):
    """`nn.Linear` over the concatenation of parts, with the weight and bias that it would have.

    A part is multiplied before its rows are gathered: a batch has twice as many edges as nodes,
    so this halves the work of an edge update, and no concatenation is ever built.
    """

    def forward(self, parts: Sequence[Part]) -> Tensor:  # type: ignore[override]
        weights = self.weight.split([values.shape[-1] for values, _ in parts], dim=1)
        out = None
        for (values, index), weight in zip(parts, weights, strict=True):
            product = F.linear(values, weight, self.bias if out is None else None)
            if index is not None:
                product = product.index_select(0, index)
            out = product if out is None else out + product
        assert out is not None, "a layer has at least one part"
        return out


class Update(nn.Module):
    """Dense -> LayerNorm -> ReLU -> Dropout."""

    def __init__(self, in_features: int, features: int) -> None:
        super().__init__()
        self.dense = PartsDense(in_features, features)
        self.layernorm = nn.LayerNorm(features, eps=1e-6)  # flax's eps

    def forward(self, parts: Sequence[Part], dropout_rate: float) -> Tensor:
        x = F.relu(self.layernorm(self.dense(parts)))
        return F.dropout(x, dropout_rate, self.training)


class GraphNetwork(nn.Module):
    """Embeds nodes and edges, passes messages, and decodes every graph's state.

    Globals start at zero with one column per output. A round updates the edges from themselves,
    both ends and the graph; then the nodes from themselves, the sums of edges sent and received
    and the graph; then the graph from the sums of its nodes and edges and itself.
    """

    def __init__(
        self,
        num_node_features: int,
        num_edge_features: int,
        num_outputs: int,
        latent_dim: int,
        hidden_dim: int,
        num_rounds: int,
    ) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.num_rounds = num_rounds
        self.node_embedding = nn.Linear(num_node_features, latent_dim)
        self.edge_embedding = nn.Linear(num_edge_features, latent_dim)
        node_dim = edge_dim = latent_dim
        state_dim = num_outputs
        for i in range(num_rounds):
            edge_in = edge_dim + 2 * node_dim + state_dim
            node_in = node_dim + 2 * hidden_dim + state_dim
            self.add_module(f"edge_update_{i}", Update(edge_in, hidden_dim))
            self.add_module(f"node_update_{i}", Update(node_in, hidden_dim))
            self.add_module(f"graph_update_{i}", Update(2 * hidden_dim + state_dim, hidden_dim))
            node_dim = edge_dim = state_dim = hidden_dim
        self.decoder = nn.Linear(state_dim, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                lecun_normal_(module)

    def forward(self, graph: GraphsTuple, dropout_rate: float) -> Tensor:
        """Logits (graphs, num_outputs). `dropout_rate` counts in training mode only."""
        num_nodes, num_graphs = graph.nodes.shape[0], graph.n_node.shape[0]
        node_graph = _owner(graph.n_node, num_nodes)
        edge_graph = _owner(graph.n_edge, graph.edges.shape[0])

        nodes = self.node_embedding(graph.nodes)
        edges = self.edge_embedding(graph.edges)
        state = nodes.new_zeros(num_graphs, self.num_outputs)
        for i in range(self.num_rounds):
            edge_parts = [
                (edges, None),
                (nodes, graph.senders),
                (nodes, graph.receivers),
                (state, edge_graph),
            ]
            edges = self.get_submodule(f"edge_update_{i}")(edge_parts, dropout_rate)
            node_parts = [
                (nodes, None),
                (_segment_sum(edges, graph.senders, num_nodes), None),
                (_segment_sum(edges, graph.receivers, num_nodes), None),
                (state, node_graph),
            ]
            nodes = self.get_submodule(f"node_update_{i}")(node_parts, dropout_rate)
            graph_parts = [
                (_segment_sum(nodes, node_graph, num_graphs), None),
                (_segment_sum(edges, edge_graph, num_graphs), None),
                (state, None),
            ]
            state = self.get_submodule(f"graph_update_{i}")(graph_parts, dropout_rate)
        return self.decoder(state)


def _owner(sizes: Tensor, total: int) -> Tensor:
    """The graph that each node or edge belongs to: (total,) int64."""
    graphs = torch.arange(sizes.shape[0], device=sizes.device)
    return torch.repeat_interleave(graphs, sizes, output_size=total)


def _segment_sum(rows: Tensor, index: Tensor, size: int) -> Tensor:
    """(size, features): row i is the sum of the rows whose index is i."""
    return rows.new_zeros(size, rows.shape[1]).index_add(0, index, rows)
