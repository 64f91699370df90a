"""Greedy translation: against a whole pass per token, and the frameworks against each other."""

import jax
import numpy as np
import pytest
import torch
import wmt_models
import wmt_oracle
from wmt_models import SIZES, jax_workload

from workloads_overrides.small.wmt.tokenizer import EOS, PAD
from workloads_overrides.small.wmt.wmt_jax import decode as jax_decode
from workloads_overrides.small.wmt.wmt_pytorch import decode as torch_decode

pytestmark = pytest.mark.usefixtures("quick_compilation")
FRAMEWORKS = ("jax", "pytorch")
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.fixture(scope="module")
def state():
    """Half learnt: translations are no constants, and end or do not."""
    return wmt_models.learnt(40)


@pytest.fixture(scope="module")
def sources():
    return np.concatenate([wmt_models.spread_rows(start).inputs for start in (0, 5)])


def always_ending(state):
    """Every output is EOS."""
    bias = 1000.0 * state["shared_embedding.weight"][EOS]
    scale = 0 * state["decoder_layernorm.weight"]
    return state | {"decoder_layernorm.bias": bias, "decoder_layernorm.weight": scale}


def translated(framework, state, inputs, length=SIZES.max_length):
    if framework == "jax":
        model = jax_workload._model
        params = wmt_models.jax_params(state)
        call = jax.jit(lambda p, x: jax_decode.translate(model, p, x, length))
        return np.asarray(call(params, inputs))
    model = wmt_models.torch_model(state)
    tokens = torch.tensor(inputs).long()
    return torch_decode.translate(model, tokens, length).numpy()


@pytest.fixture(scope="module")
def translations(state, sources):
    return {framework: translated(framework, state, sources) for framework in FRAMEWORKS}


@each_framework
def test_the_cached_decoder_is_the_uncached_one(framework, state, sources, translations):
    """The oracle computes every token by a whole pass, in float64."""
    sizes = set()
    for source, translation in zip(sources, translations[framework], strict=True):
        tokens = source[source != PAD].tolist()
        expected = wmt_oracle.greedy(state, SIZES, tokens, SIZES.max_length)
        assert translation[: len(expected)].tolist() == expected
        assert (translation[len(expected) :] == PAD).all()
        sizes.add(len(expected))
    assert len(sizes) > 3, "they end at several places"
    assert len(np.unique(translations[framework], axis=0)) > 10


def test_both_frameworks_write_the_same(translations):
    np.testing.assert_array_equal(translations["jax"], translations["pytorch"])
    assert translations["jax"].dtype == np.int32


@each_framework
def test_logits_of_steps_are_those_of_the_whole(framework, state, sources, translations):
    """The likeliest token of the training pass over the translation is the translation."""
    targets = translations[framework]
    params = wmt_models.named(state, framework)
    logits = wmt_models.logits(framework, params, {"inputs": sources, "targets": targets})
    written = targets != PAD
    np.testing.assert_array_equal(logits.argmax(-1)[written], targets[written])


@each_framework
def test_a_row_does_not_depend_on_its_batch(framework, state, sources, translations):
    alone = translated(framework, state, sources[5:6].copy())
    np.testing.assert_array_equal(alone[0], translations[framework][5])
    turned = translated(framework, state, sources[::-1].copy())
    np.testing.assert_array_equal(turned[::-1], translations[framework])


@each_framework
def test_padding_of_the_source_changes_nothing(framework, state, sources, translations):
    short = sources[:6, : (sources[:6] != PAD).sum(1).max()].copy()
    assert short.shape[1] < sources.shape[1]
    np.testing.assert_array_equal(translated(framework, state, short), translations[framework][:6])


@each_framework
def test_the_length_is_a_limit(framework, state, sources, translations):
    np.testing.assert_array_equal(
        translated(framework, state, sources, 4), translations[framework][:, :4]
    )


def test_it_stops_when_all_have_ended(state, sources, monkeypatch):
    model = wmt_models.torch_model(always_ending(state))
    steps = []
    step = model.step
    monkeypatch.setattr(model, "step", lambda *args: steps.append(args[1]) or step(*args))
    tokens = torch_decode.translate(model, torch.tensor(sources).long(), SIZES.max_length)
    assert steps == [0]
    assert (tokens[:, 0] == EOS).all()
    assert (tokens[:, 1:] == PAD).all()
    ours = translated("jax", always_ending(state), sources)
    np.testing.assert_array_equal(ours, tokens)


def test_pytorch_translates_without_dropout_or_gradients(state, sources):
    model = wmt_models.torch_model(state).train()
    tokens = torch_decode.translate(model, torch.tensor(sources).long(), 5)
    assert not model.training
    assert not tokens.requires_grad
