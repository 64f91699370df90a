"""The network of `ogbg_small` against a plain NumPy version; see also `test_workload_parity`."""

from collections import Counter

import jax
import numpy as np
import pytest
import torch

from algoperf_api import spec
from workloads_overrides.base import param_map

EVAL = spec.ForwardPassMode.EVAL
NUM_PARAMETERS = 291_966


def test_parameter_counts_and_types(jax_workload):
    params, _ = jax_workload.init_model_fn(jax.random.PRNGKey(5))
    assert sum(p.size for p in jax.tree.leaves(params)) == NUM_PARAMETERS
    kind = spec.ParameterType
    assert Counter(jax.tree.leaves(jax_workload.model_params_types)) == {
        kind.WEIGHT: 10,
        kind.EMBEDDING: 2,
        kind.BIAS: 12,
        kind.LAYER_NORM_SCALE: 9,
        kind.LAYER_NORM_BIAS: 9,
    }


def test_initial_distributions(jax_workload, torch_workload):
    """Matrices LeCun normal cut at two standard deviations, biases 0, scales 1, in both."""
    for seed in range(2):
        ours, _ = jax_workload.init_model_fn(jax.random.PRNGKey(seed))
        model, _ = torch_workload.init_model_fn([seed, 1])
        theirs = {name: p.detach().numpy() for name, p in model.named_parameters()}
        for state in (param_map.to_pytorch(ours), theirs):
            for name, array in state.items():
                if array.ndim == 1:
                    is_scale = name.endswith("weight")
                    np.testing.assert_array_equal(array, np.full(array.shape, float(is_scale)))
                else:
                    std = array.shape[1] ** -0.5
                    assert abs(array).max() <= 2 * std / 0.8796 + 1e-6
                    assert abs(array).max() > 1.7 * std
                    assert array.std() == pytest.approx(std, rel=4 * array.size**-0.5)
                    assert abs(array.mean()) < 5 * std * array.size**-0.5


def numpy_network(state, nodes, edges, receivers, senders):
    """The logits of one graph in float64: every concatenation and every sum written out."""

    def dense(name, x):
        return x @ state[name + ".weight"].T.astype(np.float64) + state[name + ".bias"]

    def update(name, x):
        x = dense(name + ".dense", x)
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        x = x * state[name + ".layernorm.weight"] + state[name + ".layernorm.bias"]
        return np.maximum(x, 0)

    v, e = dense("node_embedding", nodes), dense("edge_embedding", edges)
    u = np.zeros((1, 30))
    for i in range(3):
        u_of_edge, u_of_node = np.repeat(u, len(e), axis=0), np.repeat(u, len(v), axis=0)
        e = update(f"edge_update_{i}", np.concatenate([e, v[senders], v[receivers], u_of_edge], 1))
        sent = [e[senders == node].sum(0) for node in range(len(v))]
        received = [e[receivers == node].sum(0) for node in range(len(v))]
        v = update(f"node_update_{i}", np.concatenate([v, sent, received, u_of_node], 1))
        sums = np.concatenate([v.sum(0), e.sum(0), u[0]])
        u = update(f"graph_update_{i}", sums[None])
    return dense("decoder", u)[0]


def test_both_compute_algoperfs_architecture(jax_workload, torch_workload, data_dir, data_rng):
    model, _ = torch_workload.init_model_fn([1, 2])
    jax_workload.init_model_fn(jax.random.PRNGKey(5))  # sets the shapes
    ours, theirs = (
        next(workload._build_input_queue(data_rng, "train", str(data_dir), 128))
        for workload in (jax_workload, torch_workload)
    )
    with torch.no_grad():
        for p in model.parameters():  # scales and biases too
            p.add_(0.1 * torch.randn(p.shape, generator=torch.manual_seed(0)))
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    torch_logits, _ = torch_workload.model_fn(model, theirs, None, EVAL, None, False)
    flax_params = param_map.to_flax(state, jax_workload.param_shapes)
    jax_logits = jax_workload._eval_arrays(flax_params, ours, None, None)["logits"]
    graph = jax.tree.map(lambda tensor: tensor.numpy(), theirs["inputs"])
    node_ends, edge_ends = np.cumsum(graph.n_node), np.cumsum(graph.n_edge)
    for i in [0, 1, 2, 60, 120, 128]:  # the last one is the padding graph
        nodes = slice(node_ends[i] - graph.n_node[i], node_ends[i])
        edges = slice(edge_ends[i] - graph.n_edge[i], edge_ends[i])
        expected = numpy_network(
            state,
            graph.nodes[nodes],
            graph.edges[edges],
            graph.receivers[edges] - nodes.start,
            graph.senders[edges] - nodes.start,
        )
        np.testing.assert_allclose(torch_logits[i], expected, atol=2e-5)
        np.testing.assert_allclose(jax_logits[i], expected, atol=2e-5)
