"""The ViT of both frameworks against a plain float64 version in NumPy, its dropout, its start."""

import functools
import math

import jax
import numpy as np
import pytest
import torch
import workload_cases as cases
from dropout_sites import Counting

from algoperf_api import spec
from workloads_overrides.small.imagenet_vit.positions import sincos_2d
from workloads_overrides.small.imagenet_vit.workload import BaseImagenetVitSmallWorkload

NAME = "imagenet_vit_small"
NUM_PARAMETERS = 108_106
SIZE = BaseImagenetVitSmallWorkload.size
TRAIN, EVAL = cases.TRAIN, cases.EVAL

each_framework = pytest.mark.parametrize("framework", ["jax", "pytorch"])


def plain_positions(height, width, features):
    """Entry by entry, from the definition."""
    quarter = features // 4
    out = np.zeros((height * width, features))
    for row in range(height):
        for column in range(width):
            for k in range(quarter):
                frequency = 1 / 10_000 ** (k / (quarter - 1))
                waves = [math.sin(column * frequency), math.cos(column * frequency)]
                waves += [math.sin(row * frequency), math.cos(row * frequency)]
                out[row * width + column, k::quarter] = waves
    return out


@pytest.mark.parametrize("grid", [(4, 4), (2, 3), (1, 1)])
@pytest.mark.parametrize("features", [8, 64])
def test_positions(grid, features):
    positions = sincos_2d(*grid, features)
    assert positions.dtype == np.float64
    np.testing.assert_allclose(positions, plain_positions(*grid, features), atol=1e-14)


@pytest.mark.parametrize("features", [0, 4, 6, 10])
def test_positions_need_four_equal_parts(features):
    with pytest.raises(ValueError, match=f"features={features} must be a multiple of 4"):
        sincos_2d(2, 2, features)


class PlainViT:
    """In float64, image by image and head by head; parameters by PyTorch's names."""

    def __init__(self, state):
        self.state = {name: array.astype(np.float64) for name, array in state.items()}

    def dense(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def layernorm(self, name, x):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def attention(self, name, x):
        q, k, v = (self.dense(f"{name}.{part}", x) for part in ("query", "key", "value"))
        width = SIZE.width // SIZE.num_heads
        heads = []
        for head in range(SIZE.num_heads):
            own = slice(head * width, (head + 1) * width)
            weights = np.exp(q[:, own] @ k[:, own].T / math.sqrt(width))
            heads.append(weights / weights.sum(1, keepdims=True) @ v[:, own])
        return self.dense(f"{name}.out", np.concatenate(heads, axis=1))

    def mlp(self, name, x):
        x = self.dense(f"{name}.dense_1", x)
        x = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return self.dense(f"{name}.dense_2", x)

    def logits_of_one(self, image):
        patch = SIZE.patch_size
        kernel = self.state["conv_patch_extract.weight"][:, 0]
        x = np.array(
            [
                [(kernel[f] * image[top : top + patch, left : left + patch, 0]).sum() + bias]
                for top in range(0, 28, patch)
                for left in range(0, 28, patch)
                for f, bias in enumerate(self.state["conv_patch_extract.bias"])
            ]
        ).reshape(-1, SIZE.width)
        x = x + plain_positions(28 // patch, 28 // patch, SIZE.width)
        for i in range(SIZE.depth):
            name = f"block_{i}"
            x = x + self.attention(f"{name}.attention_1", self.layernorm(f"{name}.layernorm_0", x))
            x = x + self.mlp(f"{name}.mlp_3", self.layernorm(f"{name}.layernorm_2", x))
        x = self.layernorm("layernorm", x).mean(0)
        return self.dense("head", np.tanh(self.dense("pre_logits", x)))

    def logits(self, images):
        return np.stack([self.logits_of_one(image.astype(np.float64)) for image in images])


@functools.cache
def images():
    return np.random.default_rng(0).normal(size=(6, 28, 28, 1)).astype(np.float32)


def array(framework, values):
    return torch.tensor(values) if framework == "pytorch" else jax.numpy.asarray(values)


def logits_of(framework, params, values, mode=EVAL, rate=None, seed=0):
    torch.manual_seed(seed)
    batch = {"inputs": array(framework, values)}
    w = cases.workload(NAME, framework)
    logits, state = w.model_fn(params, batch, None, mode, jax.random.PRNGKey(seed), True, rate)
    assert state is None
    return cases.to_numpy(logits)


@each_framework
@pytest.mark.parametrize("mode", [TRAIN, EVAL])
def test_logits_are_those_of_the_architecture(framework, mode):
    params = cases.container(NAME, framework, cases.perturbed(NAME))
    expected = PlainViT(cases.perturbed(NAME)).logits(images())
    assert np.abs(expected).max() > 0.1
    assert expected.std(0).min() > 1e-3, "images differ"
    np.testing.assert_allclose(logits_of(framework, params, images(), mode), expected, atol=1e-5)


@each_framework
def test_double_precision_stays_double(framework, x64):
    params = cases.container(NAME, framework, cases.perturbed(NAME), np.float64)
    logits = logits_of(framework, params, images().astype(np.float64), TRAIN)
    assert logits.dtype == np.float64
    expected = PlainViT(cases.perturbed(NAME)).logits(images())
    np.testing.assert_allclose(logits, expected, atol=1e-11)


def test_size_and_types():
    for framework in ("jax", "pytorch"):
        values = cases.flat(NAME, cases.initial(NAME, framework)[0])
        assert sum(array.size for array in values.values()) == NUM_PARAMETERS
    kind = spec.ParameterType
    depth = SIZE.depth
    types = list(cases.workload(NAME, "pytorch").model_params_types.values())
    assert {t: types.count(t) for t in set(types)} == {
        kind.CONV_WEIGHT: 1,
        kind.ATTENTION_Q: depth,
        kind.ATTENTION_K: depth,
        kind.ATTENTION_V: depth,
        kind.ATTENTION_OUT: depth,
        kind.ATTENTION_BIAS: 4 * depth,
        kind.WEIGHT: 2 * depth + 2,
        kind.BIAS: 2 * depth + 3,
        kind.LAYER_NORM_SCALE: 2 * depth + 1,
        kind.LAYER_NORM_BIAS: 2 * depth + 1,
    }


@each_framework
def test_initial_values(framework):
    """Xavier uniform in blocks, with tiny biases in MLPs; LeCun normal outside; a zero head."""
    for seed in range(2):
        for name, array in cases.flat(NAME, cases.initial(NAME, framework, seed)[0]).items():
            if name.startswith("head"):
                np.testing.assert_array_equal(array, 0)
            elif "layernorm" in name:
                np.testing.assert_array_equal(array, float(name.endswith("weight")))
            elif name.endswith("bias") and "mlp" in name:
                assert array.std() == pytest.approx(1e-6, rel=4 * array.size**-0.5)
            elif name.endswith("bias"):
                np.testing.assert_array_equal(array, 0)
            elif name.startswith("block"):
                limit = math.sqrt(6 / sum(array.shape))
                assert 0.99 * limit < abs(array).max() <= limit
                assert array.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)
            else:
                std = array[0].size ** -0.5
                assert 1.8 * std < abs(array).max() <= 2 * std / 0.8796 + 1e-6
                assert array.std() == pytest.approx(std, rel=4 * array.size**-0.5)


@each_framework
def test_there_is_no_dropout_unless_it_is_asked_for(framework):
    params = cases.container(NAME, framework, cases.perturbed(NAME))
    plain = logits_of(framework, params, images())
    for seed in range(2):
        trained = logits_of(framework, params, images(), TRAIN, seed=seed)
        np.testing.assert_allclose(trained, plain, atol=1e-6)
    np.testing.assert_array_equal(logits_of(framework, params, images(), EVAL, 0.5), plain)
    dropped = logits_of(framework, params, images(), TRAIN, 0.5)
    assert np.abs(dropped - plain).max() > 0.05
    again = logits_of(framework, params, images(), TRAIN, 0.5)
    np.testing.assert_array_equal(again, dropped)
    other = logits_of(framework, params, images(), TRAIN, 0.5, seed=1)
    assert (other != dropped).any()


@each_framework
def test_everything_dropped_leaves_the_biases(framework):
    """Dropout is on the patches and on each block's two outputs: all images look alike then."""
    values = cases.perturbed(NAME)
    params = cases.container(NAME, framework, values)
    logits = logits_of(framework, params, images(), TRAIN, 1.0)
    plain = PlainViT(values)
    x = np.tanh(plain.dense("pre_logits", plain.layernorm("layernorm", np.zeros(SIZE.width))))
    expected = np.tile(plain.dense("head", x), (len(images()), 1))
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@each_framework
def test_dropout_sites(framework, monkeypatch):
    """The patches; of every block attention's output, inside of the MLP, its output."""
    params = cases.container(NAME, framework, cases.perturbed(NAME))
    plain = logits_of(framework, params, images())
    if framework == "jax":
        module = "workloads_overrides.small.imagenet_vit.imagenet_vit_jax.models"
        counting = Counting.in_jax(monkeypatch, module)
    else:
        counting = Counting.in_pytorch(monkeypatch)
    logits = logits_of(framework, params, images(), TRAIN, 0.5)
    wide = (len(images()), (28 // SIZE.patch_size) ** 2, SIZE.width)
    inside = (*wide[:2], SIZE.mlp_dim)
    assert counting.shapes == [wide] + SIZE.depth * [wide, inside, wide]
    # Nothing else is dropped, such as attention's weights.
    np.testing.assert_allclose(logits, plain, atol=1e-6)
    if framework == "jax":
        assert counting.drawn == [sum(map(math.prod, counting.shapes))]


def test_jax_draws_dropout_masks_only_where_they_matter():
    """A training step at the default rate, and an evaluation at any, draw no random bits."""
    w = cases.workload(NAME, "jax")
    params, _ = cases.initial(NAME, "jax")

    def primitives(mode, rate):
        def logits(params, inputs, rng):
            return w.model_fn(params, {"inputs": inputs}, None, mode, rng, True, rate)[0]

        return str(jax.make_jaxpr(logits)(params, images(), jax.random.PRNGKey(0)))

    assert "random_bits" not in primitives(TRAIN, None)
    assert "random_bits" not in primitives(EVAL, 0.5)
    assert "random_bits" in primitives(TRAIN, 0.5)


def test_a_traced_rate_of_zero_drops_nothing():
    w = cases.workload(NAME, "jax")
    params = cases.container(NAME, "jax", cases.perturbed(NAME))

    @jax.jit
    def logits(rate):
        rng = jax.random.PRNGKey(0)
        return w.model_fn(params, {"inputs": images()}, None, TRAIN, rng, True, rate)[0]

    np.testing.assert_allclose(logits(0.0), logits_of("jax", params, images()), atol=1e-6)
    assert np.abs(logits(0.5) - logits(0.0)).max() > 0.05


def test_positions_are_no_parameters_and_in_no_checkpoint():
    model, _ = cases.initial(NAME, "pytorch")
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_pytorchs_model_compiles_without_a_graph_break():
    model = cases.container(NAME, "pytorch", cases.perturbed(NAME))
    values = torch.tensor(images())
    expected = model.eval()(values)
    torch.testing.assert_close(
        torch.compile(model, backend="eager", fullgraph=True)(values), expected
    )
