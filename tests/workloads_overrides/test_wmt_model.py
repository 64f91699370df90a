"""One Transformer, twice: both frameworks against each other and against a plain NumPy version."""

from collections import Counter

import jax
import numpy as np
import pytest
import torch
import wmt_models
import wmt_oracle
from dropout_sites import Counting
from wmt_models import EVAL, SIZES, TRAIN, jax_workload, torch_workload
from workload_cases import precision

from algoperf_api import spec
from workloads_overrides.base import param_map
from workloads_overrides.small.wmt.positions import sinusoids
from workloads_overrides.small.wmt.sizes import Sizes

NUM_PARAMETERS = 568_704
FRAMEWORKS = ("jax", "pytorch")
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.fixture(scope="module")
def state():
    return wmt_models.perturbed()


@pytest.fixture(scope="module")
def made(state):
    """The same parameters in both frameworks."""
    return {framework: wmt_models.named(state, framework) for framework in FRAMEWORKS}


@pytest.fixture(scope="module")
def batch():
    return wmt_models.real_batch()


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_parameters(state, made):
    assert sum(p.size for p in state.values()) == NUM_PARAMETERS
    assert {n: p.shape for n, p in state.items()} == {
        n: tuple(p.shape) for n, p in made["pytorch"].named_parameters()
    }
    assert {p.ndim for n, p in state.items() if "norm" not in n and "bias" not in n} == {2}


def test_parameter_types(made):
    kind = spec.ParameterType
    ours = Counter(jax.tree.leaves(jax_workload.model_params_types))
    assert ours == Counter(torch_workload.model_params_types.values())
    assert ours == {
        kind.EMBEDDING: 1,
        kind.ATTENTION_Q: 6,
        kind.ATTENTION_K: 6,
        kind.ATTENTION_V: 6,
        kind.ATTENTION_OUT: 6,
        kind.WEIGHT: 8,
        kind.BIAS: 8,
        kind.LAYER_NORM_SCALE: 12,
        kind.LAYER_NORM_BIAS: 12,
    }
    for name, value in wmt_models.flax_leaves(jax_workload.model_params_types).items():
        module, _, leaf = name.rpartition(".")
        torch_name = f"{module}.{'bias' if leaf == 'bias' else 'weight'}"
        assert torch_workload.model_params_types[torch_name] == value


def test_the_shared_embedding_is_the_output():
    for workload, key in ((jax_workload, "shared_embedding"), (torch_workload, None)):
        names = [key] if key else [n for n, _ in torch_workload._make_model().named_parameters()]
        outputs = [name for name in names if workload.is_output_params(name)]
        assert outputs == [key or "shared_embedding.weight"]
    assert not jax_workload.is_output_params("decoder_0")
    assert jax_workload.is_output_params("shared_embedding/embedding")


def test_initial_distributions():
    """Matrices Xavier uniform, embeddings normal, biases almost zero, scales one."""
    ours, _ = jax_workload.init_model_fn(jax.random.PRNGKey(3))
    model, _ = torch_workload.init_model_fn([3, 1])
    theirs = {name: p.detach().numpy() for name, p in model.named_parameters()}
    for named in (param_map.to_pytorch(jax.device_get(ours)), theirs):
        for name, array in named.items():
            if "layernorm" in name:
                np.testing.assert_array_equal(array, float(name.endswith("weight")))
            elif name.endswith("bias"):
                assert array.std() == pytest.approx(1e-6, rel=0.3)
            elif name == "shared_embedding.weight":
                assert array.std() == pytest.approx(EMBEDDING_STD, rel=0.01)
                assert abs(array).max() > 3.5 * EMBEDDING_STD
            else:
                bound = (6 / sum(array.shape)) ** 0.5
                assert 0.98 * bound < abs(array).max() <= bound
                assert array.std() == pytest.approx(bound / 3**0.5, rel=0.05)


EMBEDDING_STD = 96**-0.5


@each_framework
def test_logits_of_every_pair_are_the_oracles(framework, state, made, batch):
    """Also: a pair sees nothing of the others in its row, wherever in the row it is."""
    logits = wmt_models.logits(framework, made[framework], batch)
    count = 0
    for inputs, targets, row in zip(batch["inputs"], batch["targets"], logits, strict=True):
        for source, target, place in wmt_models.pairs_of(inputs, targets):
            expected = wmt_oracle.logits(state, SIZES, source, target)
            np.testing.assert_allclose(row[place], expected, rtol=0, atol=3e-5)
            count += 1
    assert count > 12, "rows are packed"


def test_logits_and_loss_in_single_precision(made, batch):
    ours, theirs = (
        wmt_models.logits(framework, made[framework], batch) for framework in FRAMEWORKS
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    loss = jax_workload.loss_fn(batch["targets"], ours, batch["weights"])
    other = wmt_models.to_torch(batch)
    torch_loss = torch_workload.loss_fn(other["targets"], torch.tensor(theirs), other["weights"])
    assert float(loss["summed"]) == pytest.approx(torch_loss["summed"].item(), rel=1e-6)
    assert loss["n_valid_examples"] == torch_loss["n_valid_examples"] == batch["weights"].sum()


def jax_mean_loss(params, batch):
    rng = jax.random.PRNGKey(0)
    logits, _ = jax_workload.model_fn(params, batch, None, TRAIN, rng, False, dropout_rate=0.0)
    loss = jax_workload.loss_fn(batch["targets"], logits, batch["weights"])
    return loss["summed"] / loss["n_valid_examples"]


# Without optimisation it is compiled in half the time.
compiled_gradients = jax.jit(
    jax.value_and_grad(jax_mean_loss), compiler_options={"xla_backend_optimization_level": 0}
)


def torch_step(model, batch):
    model.zero_grad()
    logits, _ = torch_workload.model_fn(model, batch, None, TRAIN, None, False, dropout_rate=0.0)
    loss = torch_workload.loss_fn(batch["targets"], logits, batch["weights"])
    mean = loss["summed"] / loss["n_valid_examples"]
    mean.backward()
    return mean.item(), {n: p.grad.numpy().copy() for n, p in model.named_parameters()}


@pytest.mark.parametrize(("dtype", "rel"), [(np.float32, 1e-5), (np.float64, 1e-6)])
def test_gradients(dtype, rel, state, batch):
    with precision(dtype):
        params = wmt_models.jax_params(state, dtype)
        loss, grads = compiled_gradients(params, batch)
        grads = param_map.to_pytorch(jax.device_get(grads))
    width = torch.float64 if dtype == np.float64 else torch.float32
    torch_loss, torch_grads = torch_step(
        wmt_models.torch_model(state, width), wmt_models.to_torch(batch)
    )
    assert float(loss) == pytest.approx(torch_loss, rel=1e-6)
    for name, gradient in torch_grads.items():
        assert grads[name].dtype == gradient.dtype == dtype
        assert relative(grads[name], gradient) < rel, name


def test_ten_sgd_steps():
    params, _ = jax_workload.init_model_fn(jax.random.PRNGKey(1))
    model = wmt_models.torch_model(param_map.to_pytorch(jax.device_get(params)))
    losses = []
    for _ in range(10):
        batch = wmt_models.real_batch()
        loss, grads = compiled_gradients(params, batch)
        params = jax.tree.map(lambda p, g: p - SGD_RATE * g, params, grads)
        torch_loss, torch_grads = torch_step(model, wmt_models.to_torch(batch))
        with torch.no_grad():
            for name, p in model.named_parameters():
                p -= SGD_RATE * torch.tensor(torch_grads[name])
        losses.append((float(loss), torch_loss))
    ours, theirs = np.array(losses).T
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert ours[-1] < 0.9 * ours[0], "and they train"


SGD_RATE = 0.1  # at 0.5 the loss jumps, and another CPU's rounding grows with it


@each_framework
def test_padding_and_other_rows_change_nothing(framework, made):
    batch = wmt_models.real_batch(6, "validation")
    whole = wmt_models.logits(framework, made[framework], batch)
    length = max((batch[name] != 0).sum(1).max() for name in ("inputs", "targets"))
    assert length < SIZES.max_length
    short = {name: x[1:4, :length] for name, x in batch.items()}
    cut = wmt_models.logits(framework, made[framework], short)
    for row, other, weights in zip(whole[1:4], cut, short["weights"], strict=True):
        valid = weights > 0
        np.testing.assert_allclose(row[:length][valid], other[valid], rtol=0, atol=1e-5)


@each_framework
def test_a_token_sees_none_that_follow(framework, made, batch):
    before = wmt_models.logits(framework, made[framework], batch)
    changed = batch["targets"].copy()
    assert (changed[:, 4] > 1).any()
    changed[:, 4] = np.where(changed[:, 4] > 1, 7, changed[:, 4])
    after = wmt_models.logits(framework, made[framework], batch | {"targets": changed})
    np.testing.assert_allclose(before[:, :5], after[:, :5], rtol=0, atol=1e-6)
    assert abs(before[:, 5] - after[:, 5]).max() > 0.01


@each_framework
def test_every_source_token_matters(framework, made):
    batch = wmt_models.real_batch(6, "validation")
    before = wmt_models.logits(framework, made[framework], batch)
    lengths = (batch["inputs"] != 0).sum(1)
    for position in range(lengths.min() - 1):
        inputs = batch["inputs"].copy()
        inputs[:, position] = 9
        after = wmt_models.logits(framework, made[framework], batch | {"inputs": inputs})
        assert (abs(before - after).max((1, 2)) > 1e-3).all()


# Dropout.


def jax_train_logits(params, batch, rng, rate):
    return jax_workload.model_fn(params, batch, None, TRAIN, rng, False, rate)[0]


def train_logits(framework, made, batch, rate, compiled=jax_train_logits):
    if framework == "jax":
        return np.asarray(compiled(made["jax"], batch, jax.random.PRNGKey(0), rate))
    torch.manual_seed(0)
    other = wmt_models.to_torch(batch)
    logits, _ = torch_workload.model_fn(made["pytorch"], other, None, TRAIN, None, False, rate)
    return logits.detach().numpy()


@each_framework
def test_dropout_follows_its_rate(framework, made, batch):
    compiled = jax.jit(jax_train_logits)
    plain = wmt_models.logits(framework, made[framework], batch)
    dropped = [train_logits(framework, made, batch, r, compiled) for r in (0.0, 0.01, 0.1, 0.4)]
    effects = [np.linalg.norm(logits - plain) / np.linalg.norm(plain) for logits in dropped]
    assert effects[0] < 1e-5
    assert 0.01 < effects[1] < 0.7 * effects[2] < 0.7 * effects[3]


def sites(batch, length, sizes):
    """Shapes in their order: embeddings, probabilities, outputs of attentions, MLPs twice."""
    wide = (batch, length, sizes.features)
    attention = [(batch, sizes.num_heads, length, length), wide]
    mlp = [(batch, length, sizes.hidden), wide]
    encoder = [wide] + sizes.num_layers * (attention + mlp)
    return encoder + [wide] + sizes.num_layers * (attention + attention + mlp)


def test_dropout_sites(made, batch, monkeypatch):
    count, length = batch["inputs"].shape
    expected = sites(count, length, SIZES)
    counting = Counting.in_pytorch(monkeypatch)
    train_logits("pytorch", made, batch, 0.1)
    assert counting.shapes == expected

    counting = Counting.in_jax(monkeypatch, "workloads_overrides.small.wmt.wmt_jax.models")
    train_logits("jax", made, batch, 0.1)
    assert counting.shapes == expected
    assert sum(map(np.prod, expected)) == SIZES.dropout_entries(count, length, length)


def test_dropout_entries_of_unequal_lengths():
    sizes = Sizes(vocab_size=11, features=8, hidden=6, num_heads=2, num_layers=3, max_length=9)
    encoder = 4 * 8 + 3 * (2 * 16 + 2 * 4 * 8 + 4 * 6)
    decoder = 7 * 8 + 3 * (2 * (49 + 28) + 3 * 7 * 8 + 7 * 6)
    assert sizes.dropout_entries(5, 4, 7) == 5 * (encoder + decoder)


@each_framework
def test_evaluation_has_no_dropout(framework, made, batch):
    if framework == "jax":
        out = [
            jax_workload.model_fn(made["jax"], batch, None, EVAL, None, False, r)[0]
            for r in (0.0, 0.5)
        ]
    else:
        other = wmt_models.to_torch(batch)
        out = [
            torch_workload.model_fn(made["pytorch"], other, None, EVAL, None, False, r)[0]
            for r in (0.0, 0.5)
        ]
    np.testing.assert_array_equal(*map(np.asarray, out))


def test_sinusoids():
    table = sinusoids(7, 10)
    for position in range(7):
        for k in range(5):
            angle = position / 10_000 ** (k / 4)
            assert table[position, k] == pytest.approx(np.sin(angle), abs=1e-12)
            assert table[position, 5 + k] == pytest.approx(np.cos(angle), abs=1e-12)
    with pytest.raises(ValueError, match="even"):
        sinusoids(3, 7)
    with pytest.raises(ValueError, match="at least 4"):
        sinusoids(3, 2)
