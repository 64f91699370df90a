"""One network, twice: both frameworks against each other and against a plain NumPy version."""

from collections import Counter

import flax
import jax
import numpy as np
import pytest
import torch

from algoperf_api import spec
from workloads_overrides.base import param_map

TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
NUM_PARAMETERS = 291_966


@pytest.fixture(scope="module")
def params(jax_workload):
    return jax_workload.init_model_fn(jax.random.PRNGKey(5))[0]


@pytest.fixture
def model(torch_workload, params):
    """A PyTorch model with the same parameters."""
    model, _ = torch_workload.init_model_fn([1, 2])
    state = {name: torch.tensor(array) for name, array in param_map.to_pytorch(params).items()}
    model.load_state_dict(state)
    return model


def batches(workload, data_dir, data_rng, count, size=128):
    queue = workload._build_input_queue(data_rng, "train", str(data_dir), size)
    return [next(queue) for _ in range(count)]


@pytest.fixture(scope="module")
def batch_pairs(jax_workload, torch_workload, data_dir, data_rng):
    return list(
        zip(
            batches(jax_workload, data_dir, data_rng, 10),
            batches(torch_workload, data_dir, data_rng, 10),
            strict=True,
        )
    )


def jax_loss(workload, params, batch):
    """(mean loss, logits), without dropout."""
    rng = jax.random.PRNGKey(0)
    logits, _ = workload.model_fn(params, batch, None, TRAIN, rng, False, dropout_rate=0.0)
    loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
    return loss["summed"] / loss["n_valid_examples"], logits


def torch_loss(workload, model, batch):
    logits, _ = workload.model_fn(model, batch, None, TRAIN, None, False, dropout_rate=0.0)
    loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
    return loss["summed"] / loss["n_valid_examples"], logits


@pytest.fixture(scope="module")
def jax_value_and_grad(jax_workload):
    def loss(params, batch):
        return jax_loss(jax_workload, params, batch)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_parameter_counts(params, model):
    assert sum(p.size for p in jax.tree.leaves(params)) == NUM_PARAMETERS
    assert sum(p.numel() for p in model.parameters()) == NUM_PARAMETERS


def test_parameter_types(jax_workload, torch_workload, params, model):
    ours = Counter(jax.tree.leaves(jax_workload.model_params_types))
    assert ours == Counter(torch_workload.model_params_types.values())
    kind = spec.ParameterType
    assert ours == {
        kind.WEIGHT: 10,
        kind.EMBEDDING: 2,
        kind.BIAS: 12,
        kind.LAYER_NORM_SCALE: 9,
        kind.LAYER_NORM_BIAS: 9,
    }
    assert jax.tree.structure(params) == jax.tree.structure(jax_workload.model_params_types)
    assert set(torch_workload.model_params_types) == dict(model.named_parameters()).keys()
    types = flax.traverse_util.flatten_dict(jax_workload.model_params_types, sep=".")
    for name, value in types.items():
        leaf = name.rpartition(".")[2]
        torch_name = name if leaf == "bias" else name.removesuffix(leaf) + "weight"
        assert torch_workload.model_params_types[torch_name] == value


def test_parameter_shapes(jax_workload, torch_workload, params, model):
    shapes = jax.tree.map(lambda shape: shape.shape_tuple, jax_workload.param_shapes)
    assert shapes == jax.tree.map(lambda p: p.shape, params)
    for name, p in model.named_parameters():
        assert tuple(torch_workload.param_shapes[name].shape_tuple) == tuple(p.shape)


def test_weight_transfer_is_one_to_one(params, model):
    state = param_map.to_pytorch(params)
    assert state.keys() == model.state_dict().keys()
    assert {n: a.shape for n, a in state.items()} == {
        n: tuple(t.shape) for n, t in model.state_dict().items()
    }
    back = param_map.to_flax(state, params)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, jax.device_get(params))


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


def test_initial_parameters_depend_on_the_seed_only(jax_workload, torch_workload):
    def first(workload, rng):
        params, _ = workload.init_model_fn(rng)
        if isinstance(params, torch.nn.Module):
            return next(params.parameters()).detach().numpy()
        return np.asarray(params["node_embedding"]["kernel"])

    for workload, rng in ((jax_workload, jax.random.PRNGKey), (torch_workload, lambda s: [s, s])):
        assert (first(workload, rng(1)) == first(workload, rng(1))).all()
        assert (first(workload, rng(1)) != first(workload, rng(2))).any()


def test_streams_are_identical(batch_pairs):
    for ours, theirs in batch_pairs:
        assert ours["inputs"].globals is theirs["inputs"].globals is None
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(to_numpy(theirs)), strict=True):
            assert a.dtype.kind == b.dtype.kind
            np.testing.assert_array_equal(a, b)


def to_numpy(batch):
    return jax.tree.map(lambda tensor: tensor.numpy(), batch)


def test_logits_and_loss_in_single_precision(
    jax_value_and_grad, torch_workload, params, model, batch_pairs
):
    ours, theirs = batch_pairs[0]
    (loss, logits), _ = jax_value_and_grad(params, ours)
    torch_value, torch_logits = torch_loss(torch_workload, model, theirs)
    np.testing.assert_allclose(logits, torch_logits.detach(), rtol=0, atol=1e-5)
    assert float(loss) == pytest.approx(torch_value.item(), rel=1e-6)


# Gradients are compared in double precision: of the three million inputs of ReLUs in a batch one
# or another lies within single-precision rounding of zero, and its gradient may be either. (The
# loss itself is single in PyTorch: hence 1e-6.)


def doubled(batch):
    """A PyTorch batch with features in double precision."""
    inputs = batch["inputs"]
    double = inputs._replace(nodes=inputs.nodes.double(), edges=inputs.edges.double())
    return batch | {"inputs": double}


@pytest.fixture
def double_pair(x64, jax_workload, params, model):
    """A jitted value-and-gradient of fresh traces, and equal parameters, in double precision."""

    def loss(params, batch):
        return jax_loss(jax_workload, params, batch)[0]

    wide = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    return jax.jit(jax.value_and_grad(loss)), wide, model.double()


def test_gradients(double_pair, torch_workload, batch_pairs):
    value_and_grad, params, model = double_pair
    ours, theirs = batch_pairs[0]
    loss, grads = value_and_grad(params, ours)
    torch_value, _ = torch_loss(torch_workload, model, doubled(theirs))
    torch_value.backward()
    assert float(loss) == pytest.approx(torch_value.item(), rel=1e-6)
    grads = param_map.to_pytorch(grads)
    for name, p in model.named_parameters():
        assert grads[name].dtype == np.float64
        assert relative(grads[name], p.grad.numpy()) < 1e-6, name


def test_ten_sgd_steps(double_pair, torch_workload, batch_pairs):
    value_and_grad, params, model = double_pair
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for ours, theirs in batch_pairs:
        loss, grads = value_and_grad(params, ours)
        params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
        optimizer.zero_grad()
        torch_value, _ = torch_loss(torch_workload, model, doubled(theirs))
        torch_value.backward()
        optimizer.step()
        losses.append((float(loss), torch_value.item()))
    ours, theirs = np.array(losses).T
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert ours[-1] < 0.8 * ours[0], "and they train"


def test_evaluations_agree(jax_workload, torch_workload, params, model, data_dir):
    args = ("validation", 300, 64)
    ours = jax_workload._eval_model_on_split(*args, params, None, None, str(data_dir))
    theirs = torch_workload._eval_model_on_split(*args, model, None, None, str(data_dir))
    assert ours == pytest.approx(theirs, rel=1e-4)


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


def test_both_compute_algoperfs_architecture(jax_workload, torch_workload, model, batch_pairs):
    with torch.no_grad():
        for p in model.parameters():  # scales and biases too
            p.add_(0.1 * torch.randn(p.shape, generator=torch.manual_seed(0)))
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    ours, theirs = batch_pairs[1]
    torch_logits, _ = torch_workload.model_fn(model, theirs, None, EVAL, None, False)
    flax_params = param_map.to_flax(state, jax_workload.param_shapes)
    jax_logits = jax_workload._eval_arrays(flax_params, ours, None, None)["logits"]
    graph = to_numpy(theirs)["inputs"]
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
