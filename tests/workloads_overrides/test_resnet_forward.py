"""The ResNet of both frameworks against a plain float64 version in NumPy, and its batch norms."""

import functools

import flax
import jax
import numpy as np
import pytest
import torch
import workload_cases as cases

from algoperf_api import spec
from workloads_overrides.base import param_map

pytestmark = pytest.mark.usefixtures("quick_compilation")
NAME = "imagenet_resnet_small"
NUM_PARAMETERS = 53_562
TRAIN, EVAL = cases.TRAIN, cases.EVAL


def conv(x, weight, stride):
    """x (B, h, w, c), weight (out, in, k, k): zero padding of (k - 1) / 2 on every side."""
    size = weight.shape[-1]
    pad = (size - 1) // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = range(0, x.shape[1] - size + 1, stride)
    columns = range(0, x.shape[2] - size + 1, stride)
    out = np.empty((len(x), len(rows), len(columns), len(weight)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            patch = x[:, top : top + size, left : left + size]
            out[:, i, j] = np.einsum("bhwc,ochw->bo", patch, weight)
    return out


def max_pool(x):
    """3x3 with stride 2 over what lies inside."""
    size = (x.shape[1] + 1) // 2
    out = np.empty((len(x), size, size, x.shape[-1]))
    for i in range(size):
        for j in range(size):
            window = x[:, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            out[:, i, j] = window.max((1, 2))
    return out


class PlainResNet:
    """In float64; parameters and running statistics by PyTorch's names."""

    def __init__(self, state, train):
        self.state = {name: array.astype(np.float64) for name, array in state.items()}
        self.train = train
        self.new_statistics = {}

    def norm(self, name, x):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.train:
            batch_mean, batch_var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.new_statistics[f"{name}.running_mean"] = 0.9 * mean + 0.1 * batch_mean
            self.new_statistics[f"{name}.running_var"] = 0.9 * var + 0.1 * batch_var
            mean, var = batch_mean, batch_var
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    def conv(self, name, x, stride=1):
        return conv(x, self.state[f"{name}.weight"], stride)

    def block(self, name, x, stride):
        y = np.maximum(self.norm(f"{name}.bn_1", self.conv(f"{name}.conv_1", x)), 0)
        y = np.maximum(self.norm(f"{name}.bn_2", self.conv(f"{name}.conv_2", y, stride)), 0)
        y = self.norm(f"{name}.bn_3", self.conv(f"{name}.conv_3", y))
        if f"{name}.conv_proj.weight" in self.state:
            x = self.norm(f"{name}.bn_proj", self.conv(f"{name}.conv_proj", x, stride))
        return np.maximum(x + y, 0)

    def logits(self, x):
        x = np.maximum(self.norm("bn_init", self.conv("conv_init", x, 2)), 0)
        x = max_pool(x)
        for name, stride in (
            ("block_0_0", 1),
            ("block_0_1", 1),
            ("block_1_0", 2),
            ("block_1_1", 1),
        ):
            x = self.block(name, x, stride)
        return x.mean((1, 2)) @ self.state["head.weight"].T + self.state["head.bias"]


@functools.cache
def statistics():
    """Running means and variances that are not 0 and 1."""
    rng = np.random.default_rng(1)
    start = cases.flat_state(NAME, *cases.initial(NAME, "jax"))
    return {
        name: array + (rng.random(array.shape) if "var" in name else rng.normal(size=array.shape))
        for name, array in start.items()
    }


def model_and_state(framework, dtype=np.float32):
    """Perturbed parameters and statistics; PyTorch's state is in the module."""
    model = cases.container(NAME, framework, cases.perturbed(NAME), dtype)
    wanted = {name: array.astype(dtype) for name, array in statistics().items()}
    if framework == "jax":
        like = cases.initial(NAME, "jax")[1]["batch_stats"]
        return model, {"batch_stats": param_map.to_flax(wanted, like)}
    model.load_state_dict({n: torch.tensor(a) for n, a in wanted.items()}, strict=False)
    return model, None


@functools.cache
def images(seed=0, count=8):
    return np.random.default_rng(seed).normal(size=(count, 28, 28, 1)).astype(np.float32)


def batch(framework, values):
    return {"inputs": torch.tensor(values) if framework == "pytorch" else jax.numpy.asarray(values)}


@functools.partial(jax.jit, static_argnums=(3, 4))
def jax_forward(params, inputs, state, mode, update):
    w = cases.workload(NAME, "jax")
    return w.model_fn(params, {"inputs": inputs}, state, mode, jax.random.PRNGKey(0), update)


def forward(framework, model, state, values, mode, update=True):
    """(logits, running statistics afterwards, both in NumPy)."""
    if framework == "jax":
        logits, state = jax_forward(model, values, state, mode, update)
    else:
        w = cases.workload(NAME, framework)
        logits, state = w.model_fn(model, batch(framework, values), state, mode, None, update)
    return cases.to_numpy(logits), cases.flat_state(NAME, model, state)


each_framework = pytest.mark.parametrize("framework", ["jax", "pytorch"])


@each_framework
@pytest.mark.parametrize("mode", [TRAIN, EVAL])
def test_logits_and_statistics_are_those_of_the_architecture(framework, mode):
    model, state = model_and_state(framework)
    logits, changed = forward(framework, model, state, images(), mode)
    plain = PlainResNet(cases.perturbed(NAME) | statistics(), train=mode == TRAIN)
    np.testing.assert_allclose(logits, plain.logits(images()), atol=2e-5)
    expected = plain.new_statistics if mode == TRAIN else statistics()
    assert changed.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(changed[name], array, atol=1e-5, err_msg=name)


@each_framework
def test_double_precision_stays_double(framework, x64):
    model, state = model_and_state(framework, np.float64)
    plain = PlainResNet(cases.perturbed(NAME) | statistics(), train=True)
    values = images(1).astype(np.float64)
    w = cases.workload(NAME, framework)
    data = batch(framework, values)
    logits, state = w.model_fn(model, data, state, TRAIN, jax.random.PRNGKey(0), True)
    logits = cases.to_numpy(logits)
    assert logits.dtype == np.float64
    np.testing.assert_allclose(logits, plain.logits(values), atol=1e-10)
    for name, array in cases.flat_state(NAME, model, state).items():
        np.testing.assert_allclose(array, plain.new_statistics[name], atol=1e-10)


@each_framework
def test_statistics_change_only_where_training_lets_them(framework):
    model, state = model_and_state(framework)
    free, changed = forward(framework, model, state, images(), TRAIN)
    model, state = model_and_state(framework)
    fixed, unchanged = forward(framework, model, state, images(), TRAIN, update=False)
    np.testing.assert_allclose(fixed, free, atol=1e-6)
    for name, array in statistics().items():
        np.testing.assert_array_equal(unchanged[name], array.astype(np.float32))
        assert (changed[name] != unchanged[name]).any()


@each_framework
def test_evaluation_treats_every_image_alone_and_training_does_not(framework):
    model, state = model_and_state(framework)
    together, _ = forward(framework, model, state, images(), EVAL, update=False)
    alone, _ = forward(framework, model, state, images()[:2], EVAL, update=False)
    np.testing.assert_allclose(alone, together[:2], atol=1e-5)
    together, _ = forward(framework, model, state, images(), TRAIN, update=False)
    alone, _ = forward(framework, model, state, images()[:2], TRAIN, update=False)
    assert np.abs(alone - together[:2]).max() > 0.01


def test_size_and_types():
    for framework in ("jax", "pytorch"):
        values = cases.flat(NAME, cases.initial(NAME, framework)[0])
        assert sum(array.size for array in values.values()) == NUM_PARAMETERS
    kind = spec.ParameterType
    types = list(cases.workload(NAME, "pytorch").model_params_types.values())
    assert {t: types.count(t) for t in set(types)} == {
        kind.CONV_WEIGHT: 15,
        kind.BATCH_NORM_SCALE: 15,
        kind.BATCH_NORM_BIAS: 15,
        kind.WEIGHT: 1,
        kind.BIAS: 1,
    }
    assert len(statistics()) == 30


@each_framework
def test_initial_values(framework):
    """Convolutions LeCun normal cut at two deviations, a small normal head, blocks that start
    as their shortcuts."""
    for seed in range(2):
        params, state = cases.initial(NAME, framework, seed)
        for name, array in cases.flat(NAME, params).items():
            if array.ndim == 4:
                std = array[0].size ** -0.5
                assert abs(array).max() <= 2 * std / 0.8796 + 1e-6
                assert array.std() == pytest.approx(std, rel=4 * array.size**-0.5)
                assert abs(array.mean()) < 5 * std * array.size**-0.5
            elif name == "head.weight":
                assert array.std() == pytest.approx(0.01, rel=4 * array.size**-0.5)
            else:
                is_scale = name.endswith("weight") and "bn_3" not in name
                np.testing.assert_array_equal(array, np.full(array.shape, float(is_scale)))
        for name, array in cases.flat_state(NAME, params, state).items():
            np.testing.assert_array_equal(array, np.full(array.shape, float("var" in name)))


@each_framework
def test_there_is_no_dropout(framework):
    model, state = model_and_state(framework)
    w = cases.workload(NAME, framework)
    results = []
    for rate in (None, 0.0, 0.9):
        logits, _ = w.model_fn(
            model, batch(framework, images()), state, TRAIN, jax.random.PRNGKey(0), False, rate
        )
        results.append(cases.to_numpy(logits))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_jaxs_model_state_is_the_batch_statistics():
    _, state = cases.initial(NAME, "jax")
    assert set(state) == {"batch_stats"}
    leaves = flax.traverse_util.flatten_dict(state["batch_stats"])
    assert {path[-1] for path in leaves} == {"mean", "var"}


def test_batch_statistics_move_to_pytorchs_buffers_and_back():
    _, state = model_and_state("jax")
    moved = param_map.to_pytorch(state["batch_stats"])
    model, _ = model_and_state("pytorch")
    assert moved.keys() == dict(model.named_buffers()).keys()
    back = param_map.to_flax(moved, state["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, back, state["batch_stats"])


def test_pytorchs_model_compiles_without_a_graph_break():
    model, _ = model_and_state("pytorch")
    values = torch.tensor(images())
    expected = model.eval()(values)
    torch.testing.assert_close(
        torch.compile(model, backend="eager", fullgraph=True)(values), expected
    )
