"""The LLaMA decoder in both frameworks against NumPy in float64, and its sizes and types."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from c4_cases import EVAL, TINY, TinyJax, TinyTorch, jax_container, random_params, torch_container

from algoperf_api import param_utils
from workloads_overrides.base import param_map
from workloads_overrides.c4.c4_jax import models as jax_models
from workloads_overrides.c4.c4_pytorch import models as torch_models
from workloads_overrides.c4.config import MODELS, SMALL
from workloads_overrides.c4.numerics import pytorch_name, rope_tables

COUNTS = {"60M": 58_073_600, "130M": 134_105_856, "350M": 367_969_280}


def abstract_jax(config):
    """Shapes of the flax model's parameters, of which none is made."""
    model = jax_models.Llama(config)
    tokens = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    key = jax.random.PRNGKey(0)
    return jax.eval_shape(lambda x: model.init({"params": key}, x, False, 0.0), tokens)["params"]


def abstract_torch(config):
    with torch.device("meta"):
        return torch_models.Llama(config, 256)


@pytest.mark.parametrize("size", COUNTS)
def test_the_published_sizes_in_both_frameworks(size):
    params, model = abstract_jax(MODELS[size]), abstract_torch(MODELS[size])
    assert sum(x.size for x in jax.tree.leaves(params)) == COUNTS[size]
    assert sum(p.numel() for p in model.parameters()) == COUNTS[size]
    ours = param_utils.jax_param_types(param_utils.jax_param_shapes(params))
    theirs = param_utils.pytorch_param_types(param_utils.pytorch_param_shapes(model))
    types = Counter(jax.tree.leaves(ours))
    assert types == Counter(theirs.values())
    layers = MODELS[size].layers
    counts = {kind.name: count for kind, count in types.items()}
    attention = {f"ATTENTION_{name}": layers for name in ("Q", "K", "V", "OUT")}
    norms = {"LAYER_NORM_SCALE": 2 * layers + 1}
    assert counts == {"EMBEDDING": 1, "WEIGHT": 3 * layers + 1, **attention, **norms}


@pytest.mark.parametrize("config", [TINY, SMALL, MODELS["60M"]])
def test_the_tensors_are_those_of_the_configuration(config):
    flat = jax.tree_util.tree_flatten_with_path(abstract_jax(config))[0]
    shapes = {"/".join(key.key for key in path): leaf.shape for path, leaf in flat}
    assert shapes == {path: tensor.shape for path, tensor in config.tensors().items()}
    model = abstract_torch(config)
    expected = {name: a.shape for name, a in random_params(config).items()}
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == expected
    assert set(model.state_dict()) == set(expected), "buffers are not saved"


@pytest.mark.parametrize(
    ("flax_name", "torch_name"),
    [
        ("token_embedding", "token_embedding"),
        ("layers_0.attention.query", "layers.0.attention.q_proj"),
        ("layers_11.attention.key", "layers.11.attention.k_proj"),
        ("layers_1.attention.value", "layers.1.attention.v_proj"),
        ("layers_1.attention.out", "layers.1.attention.out_proj"),
        ("layers_23.mlp.gate_proj", "layers.23.mlp.gate_proj"),
        ("layers_2.attn_rms_ln", "layers.2.attn_rms_ln"),
        ("final_rms_ln", "final_rms_ln"),
        ("lm_head", "lm_head"),
    ],
)
def test_names_of_modules(flax_name, torch_name):
    assert pytorch_name(flax_name) == torch_name


def rotated(x):
    """Rotary embeddings of (L, d) in float64 as complex numbers: feature j with j + d / 2."""
    length, dim = x.shape
    z = x[:, : dim // 2] + 1j * x[:, dim // 2 :]
    for j in range(dim // 2):
        z[:, j] *= np.exp(1j * np.arange(length) * 10_000.0 ** (-2 * j / dim))
    return np.concatenate([z.real, z.imag], axis=1)


@pytest.mark.parametrize(("length", "dim"), [(256, 64), (64, 20), (5, 2)])
def test_rotary_embeddings(length, dim):
    x = np.random.default_rng(0).normal(size=(2, length, 3, dim)).astype(np.float32)
    expected = np.stack(
        [[rotated(x[b, :, h].astype(np.float64)) for h in range(3)] for b in range(2)]
    )
    ours = np.asarray(jax_models.rotate(jnp.asarray(x)))
    np.testing.assert_allclose(ours.transpose(0, 2, 1, 3), expected, atol=2e-6)
    tables = torch.tensor(np.stack(rope_tables(length, dim)))
    turned = torch.tensor(x.transpose(0, 2, 1, 3))
    theirs = torch_models.rotate(turned, tables.float())
    np.testing.assert_allclose(theirs, expected, atol=2e-6)
    exact = torch_models.rotate(turned.double(), tables)
    np.testing.assert_allclose(exact, expected, atol=1e-12)


def test_scores_depend_on_the_distance_of_positions_only():
    rng = np.random.default_rng(0)
    query, key = (np.tile(rng.normal(size=(1, 1, 1, 16)), (1, 40, 1, 1)) for _ in range(2))
    turned = [np.asarray(jax_models.rotate(jnp.asarray(x)))[0, :, 0] for x in (query, key)]
    scores = turned[0] @ turned[1].T
    for distance in (0, 1, 7):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-5)
    assert abs(scores[0, 1] - scores[1, 0]) > 1e-2, "and on its sign"


def test_rotary_embeddings_of_half_precision_are_computed_in_single():
    x = np.random.default_rng(0).normal(size=(1, 256, 1, 16)).astype(np.float32)
    half = jnp.asarray(x).astype(jnp.bfloat16)
    single = jax_models.rotate(half.astype(jnp.float32))
    ours = jax_models.rotate(half)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_array_equal(ours, single.astype(jnp.bfloat16))
    turned = torch.tensor(x.transpose(0, 2, 1, 3)).bfloat16()
    tables = torch.tensor(np.stack(rope_tables(256, 16))).float()
    theirs = torch_models.rotate(turned, tables)
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(theirs, torch_models.rotate(turned.float(), tables).bfloat16())


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_rms_norm(size):
    rng = np.random.default_rng(0)
    x = (size * rng.normal(size=(3, 5, 24))).astype(np.float32)
    scale = rng.normal(size=24).astype(np.float32)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * scale
    ours = jax_models.RMSNorm().apply({"params": {"scale": scale}}, x)
    np.testing.assert_allclose(ours, expected, rtol=2e-6)
    norm = torch_models.RMSNorm(24)
    norm.load_state_dict({"weight": torch.tensor(scale)})
    np.testing.assert_allclose(norm(torch.tensor(x)).detach(), expected, rtol=2e-6)


def test_rms_norm_of_half_precision_is_computed_in_single():
    x = np.full((1, 512), 3.0, np.float32)
    x[0, 0] = 300.0  # in bfloat16 the sum of squares would lose all the others
    expected = x / np.sqrt((x.astype(np.float64) ** 2).mean() + 1e-6)
    params = {"params": {"scale": np.ones(512, np.float32)}}
    ours = jax_models.RMSNorm().apply(params, jnp.asarray(x).astype(jnp.bfloat16))
    theirs = torch_models.RMSNorm(512)(torch.tensor(x).bfloat16())
    assert ours.dtype == jnp.bfloat16
    assert theirs.dtype == torch.bfloat16
    for result in (ours.astype(jnp.float32), theirs.detach().float()):
        np.testing.assert_allclose(np.asarray(result), expected, rtol=2**-8)


def numpy_llama(params, tokens):
    """Logits of one row in float64, from the papers; position by position in attention."""
    heads, layers = TINY.heads, TINY.layers

    def weight(name):
        return params[f"{name}.weight"].astype(np.float64)

    def norm(name, x):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight(name)

    x = weight("token_embedding")[tokens]
    for i in range(layers):
        layer = f"layers.{i}"
        y = norm(f"{layer}.attn_rms_ln", x)
        q, k, v = (y @ weight(f"{layer}.attention.{name}_proj").T for name in "qkv")
        mixed = np.zeros_like(x)
        for part in np.split(np.arange(TINY.hidden), heads):
            queries, keys = rotated(q[:, part]), rotated(k[:, part])
            for position in range(len(tokens)):
                scores = keys[: position + 1] @ queries[position] / np.sqrt(len(part))
                weights = np.exp(scores - scores.max())
                mixed[position, part] = weights / weights.sum() @ v[: position + 1, part]
        x = x + mixed @ weight(f"{layer}.attention.out_proj").T
        y = norm(f"{layer}.mlp_rms_ln", x)
        gate = y @ weight(f"{layer}.mlp.gate_proj").T
        up = y @ weight(f"{layer}.mlp.up_proj").T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weight(f"{layer}.mlp.down_proj").T
    return norm("final_rms_ln", x) @ weight("lm_head").T


@pytest.fixture(scope="module")
def models():
    """(parameters by PyTorch's name, function of tokens) in both frameworks."""
    values = random_params(TINY)
    ours, theirs = TinyJax(), TinyTorch()
    params, model = jax_container(ours, values), torch_container(theirs, values)

    def torch_logits(tokens):
        batch = {"inputs": torch.tensor(tokens)}
        return theirs.model_fn(model, batch, None, EVAL, None, False)[0].numpy()

    @jax.jit
    def jax_logits(tokens):
        return ours.model_fn(params, {"inputs": tokens}, None, EVAL, None, False)[0]

    return values, [lambda tokens: np.asarray(jax_logits(tokens)), torch_logits]


def test_both_compute_the_architecture(models):
    values, functions = models
    tokens = np.random.default_rng(1).integers(0, TINY.vocab, (3, 16))
    expected = np.stack([numpy_llama(values, row) for row in tokens])
    assert 0.5 < expected.std() < 5
    for logits in functions:
        np.testing.assert_allclose(logits(tokens), expected, atol=2e-5)


def test_no_position_sees_a_later_one(models):
    tokens = np.random.default_rng(1).integers(0, TINY.vocab, (1, 16))
    for logits in models[1]:
        before = logits(tokens)
        for position in (0, 7, 15):
            changed = tokens.copy()
            changed[0, position] = (changed[0, position] + 1) % TINY.vocab
            difference = abs(logits(changed) - before).max(axis=(0, 2))
            assert (difference[:position] == 0).all()
            assert (difference[position:] > 1e-4).all(), "and all later ones see it"


def test_shorter_rows_are_beginnings(models):
    tokens = np.random.default_rng(1).integers(0, TINY.vocab, (2, 16))
    for logits in models[1]:
        np.testing.assert_allclose(logits(tokens[:, :5]), logits(tokens)[:, :5], atol=2e-5)


def test_initial_values_are_normal_in_both_frameworks():
    ours, theirs = TinyJax(), TinyTorch()
    flat = param_map.to_pytorch(ours.init_model_fn(jax.random.PRNGKey(1))[0], pytorch_name)
    model, _ = theirs.init_model_fn(np.array([1, 2]))
    other = {name: p.detach().numpy() for name, p in model.named_parameters()}
    for state in (flat, other):
        for name, array in state.items():
            if array.ndim == 1:
                np.testing.assert_array_equal(array, np.ones(array.shape))
                continue
            error = array.size**-0.5
            assert abs(array.mean()) < 5 * 0.02 * error, name
            assert array.std() == pytest.approx(0.02, rel=5 * error), name
            # Not cut at two standard deviations, as a truncated normal would be.
            assert (abs(array) > 0.04).mean() == pytest.approx(0.0455, abs=1.5 * error), name


def test_the_pytorch_model_compiles_without_a_graph_break():
    workload = TinyTorch()
    model, _ = workload.init_model_fn(np.array([1, 2]))
    tokens = torch.tensor(np.random.default_rng(1).integers(0, TINY.vocab, (2, 16)))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), model(tokens))
