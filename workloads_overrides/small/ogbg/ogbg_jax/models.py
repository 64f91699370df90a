"""The graph network of AlgoPerf's OGBG workload in flax: same layers, same order of inputs.

Written from the architecture, not from its code. Module names are lower case, so that trees of
parameter types, whose keys are, match the parameters; `param_map` relies on them too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from ....base.dropout_jax import Dropout
from ..graphs import GraphsTuple


class Part(NamedTuple):
    """Some columns of a Dense layer's input: row i is `values[index[i]]`, or `values[i]`."""

    values: jax.Array
    index: jax.Array | None = None


class PartsDense(nn.Module):
    """`nn.Dense` over the concatenation of parts, with one kernel and bias just as it would have.

    A part is multiplied before its rows are gathered: a batch has twice as many edges as nodes,
    so this halves the work of an edge update, and no concatenation is ever built.
    """

    features: int

    @nn.compact
    def __call__(self, parts: Sequence[Part]) -> jax.Array:
        widths = [part.values.shape[-1] for part in parts]
        shape = (sum(widths), self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        out = self.param("bias", nn.initializers.zeros, (self.features,))
        row = 0
        for part, width in zip(parts, widths, strict=True):
            product = part.values @ kernel[row : row + width]
            out += product if part.index is None else product[part.index]
            row += width
        return out


class Update(nn.Module):
    """Dense -> LayerNorm -> ReLU -> Dropout."""

    features: int

    @nn.compact
    def __call__(self, parts: Sequence[Part], dropout: Dropout | None) -> jax.Array:
        x = PartsDense(self.features, name="dense")(parts)
        x = nn.relu(nn.LayerNorm(name="layernorm")(x))
        return x if dropout is None else dropout(x)


class GraphNetwork(nn.Module):
    """Embeds nodes and edges, passes messages, and decodes every graph's state.

    Globals start at zero with one column per output. A round updates the edges from themselves,
    both ends and the graph; then the nodes from themselves, the sums of edges sent and received
    and the graph; then the graph from the sums of its nodes and edges and itself.
    """

    num_outputs: int
    latent_dim: int
    hidden_dim: int
    num_rounds: int

    @nn.compact
    def __call__(
        self, graph: GraphsTuple, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """Logits (graphs, num_outputs). With `train`, needs a `dropout` key."""
        num_nodes, num_edges, num_graphs = len(graph.nodes), len(graph.edges), len(graph.n_node)
        node_graph = _owner(graph.n_node, num_nodes)
        edge_graph = _owner(graph.n_edge, num_edges)
        dropout = None
        if train:
            rows = self.num_rounds * (num_nodes + num_edges + num_graphs)
            dropout = Dropout(self.make_rng("dropout"), dropout_rate, rows * self.hidden_dim)

        nodes = nn.Dense(self.latent_dim, name="node_embedding")(graph.nodes)
        edges = nn.Dense(self.latent_dim, name="edge_embedding")(graph.edges)
        state = jnp.zeros((num_graphs, self.num_outputs), nodes.dtype)
        for i in range(self.num_rounds):
            edge_parts = [
                Part(edges),
                Part(nodes, graph.senders),
                Part(nodes, graph.receivers),
                Part(state, edge_graph),
            ]
            edges = Update(self.hidden_dim, name=f"edge_update_{i}")(edge_parts, dropout)
            node_parts = [
                Part(nodes),
                Part(jax.ops.segment_sum(edges, graph.senders, num_nodes)),
                Part(jax.ops.segment_sum(edges, graph.receivers, num_nodes)),
                Part(state, node_graph),
            ]
            nodes = Update(self.hidden_dim, name=f"node_update_{i}")(node_parts, dropout)
            graph_parts = [
                Part(jax.ops.segment_sum(nodes, node_graph, num_graphs)),
                Part(jax.ops.segment_sum(edges, edge_graph, num_graphs)),
                Part(state),
            ]
            state = Update(self.hidden_dim, name=f"graph_update_{i}")(graph_parts, dropout)
        return nn.Dense(self.num_outputs, name="decoder")(state)


def _owner(sizes: jax.Array, total: int) -> jax.Array:
    """The graph that each node or edge belongs to: (total,) int32."""
    return jnp.repeat(jnp.arange(sizes.shape[0]), sizes, total_repeat_length=total)
