"""Parameters from one framework's names and layout to the other's, checked by what layers do."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from workloads_overrides.base import param_map


class Flax(linen.Module):
    @linen.compact
    def __call__(self, x, tokens):
        x = linen.Conv(5, (3, 2), padding="VALID", name="conv_0")(x).mean((1, 2))
        x = linen.LayerNorm(name="layernorm", epsilon=1e-5)(x)
        x = x + linen.Embed(11, 5, name="embedding")(tokens)
        return linen.Dense(4, name="head")(Inner(name="block")(x))


class Inner(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(6, name="out", use_bias=False)(x)


class Torch(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_0 = nn.Conv2d(3, 5, (3, 2))
        self.layernorm = nn.LayerNorm(5)
        self.embedding = nn.Embedding(11, 5)
        self.block = nn.Module()
        self.block.out = nn.Linear(5, 6, bias=False)
        self.head = nn.Linear(6, 4)

    def forward(self, x, tokens):
        x = self.conv_0(x.permute(0, 3, 1, 2)).mean((2, 3))
        x = self.layernorm(x) + self.embedding(tokens)
        return self.head(self.block.out(x))


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 7, 6, 3)).astype(np.float32), np.array([4, 10])


@pytest.fixture(scope="module")
def params(inputs):
    """Random ones, biases too."""
    params = jax.jit(Flax().init)(jax.random.PRNGKey(0), *inputs)["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: p + rng.normal(size=p.shape).astype(np.float32), params)


@pytest.fixture
def model(params):
    model = Torch()
    state = param_map.to_pytorch(params)
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return model


def test_both_modules_compute_the_same(params, model, inputs):
    ours = jax.jit(Flax().apply)({"params": params}, *inputs)
    theirs = model(*map(torch.tensor, inputs))
    np.testing.assert_allclose(ours, theirs.detach(), atol=1e-5)


def test_gradients_map_alike(params, model, inputs):
    def loss(params):
        return jnp.sum(jnp.sin(Flax().apply({"params": params}, *inputs)))

    torch.sin(model(*map(torch.tensor, inputs))).sum().backward()
    grads = param_map.to_pytorch(jax.jit(jax.grad(loss))(params))
    for name, p in model.named_parameters():
        np.testing.assert_allclose(grads[name], p.grad, atol=1e-4, err_msg=name)


def test_round_trip(params, model):
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    back = param_map.to_flax(state, like=params)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, jax.device_get(params))


def test_layouts():
    kernel, conv = np.arange(6).reshape(2, 3), np.arange(120).reshape(2, 3, 4, 5)
    flax = {"a": {"kernel": kernel, "bias": np.arange(3)}, "b": {"kernel": conv}}
    flax |= {"c": {"scale": np.ones(3)}, "d": {"embedding": kernel}}
    state = param_map.to_pytorch(flax)
    assert set(state) == {"a.weight", "a.bias", "b.weight", "c.weight", "d.weight"}
    np.testing.assert_array_equal(state["a.weight"], kernel.T)
    np.testing.assert_array_equal(state["d.weight"], kernel)
    assert state["b.weight"].shape == (5, 4, 2, 3)
    for i in np.ndindex(2, 3, 4, 5):  # (h, w, in, out)
        assert state["b.weight"][i[3], i[2], i[0], i[1]] == conv[i]


def test_renaming():
    flax = {"encoder": {"block_0": {"dense": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}}}}

    def rename(module):
        assert module == "encoder.block_0.dense"
        return "blocks.0.linear"

    state = param_map.to_pytorch(flax, rename)
    assert set(state) == {"blocks.0.linear.weight", "blocks.0.linear.bias"}
    back = param_map.to_flax(state, flax, rename)
    jax.tree.map(np.testing.assert_array_equal, back, flax)


def test_only_what_is_asked_for_is_taken():
    state = {"a.weight": np.ones((3, 2)), "a.running_mean": np.ones(3)}
    back = param_map.to_flax(state, like={"a": {"kernel": np.zeros((2, 3))}})
    assert set(back["a"]) == {"kernel"}
    with pytest.raises(KeyError, match=r"b\.bias"):
        param_map.to_flax(state, like={"b": {"bias": np.zeros(3)}})


def test_running_statistics():
    flax = {"block_0": {"bn": {"mean": np.arange(3.0), "var": np.arange(3.0) + 1}}}
    state = param_map.to_pytorch(flax)
    assert set(state) == {"block_0.bn.running_mean", "block_0.bn.running_var"}
    np.testing.assert_array_equal(state["block_0.bn.running_var"], [1, 2, 3])
    jax.tree.map(np.testing.assert_array_equal, param_map.to_flax(state, flax), flax)


def test_dtypes_stay():
    for dtype in (np.float16, np.float32, np.float64):
        state = param_map.to_pytorch({"a": {"kernel": np.ones((2, 3), dtype)}})
        assert state["a.weight"].dtype == dtype
