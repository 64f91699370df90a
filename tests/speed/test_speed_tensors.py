"""The shapes that steps are timed on, against what is known of the models."""

import math

import pytest

from matprec.layout import ROLES
from speed.tensors import LLAMA, models, tensors

PARAMETERS = {
    "ogbg": 3_554_176,
    "wmt": 133_521_408,
    "imagenet_resnet": 25_557_032,
    "imagenet_vit": 22_122_472,
    "llama_60m": 58_073_600,
    "llama_130m": 134_105_856,
    "llama_350m": 367_969_280,
}


def count(model: str, framework: str) -> int:
    return sum(math.prod(shape) for shape, _ in tensors(model, framework))


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("model", PARAMETERS)
def test_numbers_of_parameters(model: str, framework: str):
    assert count(model, framework) == PARAMETERS[model]


@pytest.mark.parametrize("model", models())
def test_both_frameworks_have_the_same_elements_and_known_roles(model: str):
    # torch's LSTMs have two biases that are added, flax's one.
    second_biases = 12_288 if model == "librispeech_deepspeech" else 0
    assert count(model, "pytorch") - count(model, "jax") == second_biases
    for framework in ("jax", "pytorch"):
        assert {role for _, role in tensors(model, framework)} <= set(ROLES)


def test_kernels_lie_as_the_framework_has_them():
    jax, torch = tensors("llama_60m", "jax"), tensors("llama_60m", "pytorch")
    assert ((512, 1376), "matrix") in jax
    assert ((1376, 512), "matrix") in torch
    assert ((32_000, 512), "embedding") in set(jax) & set(torch)


def test_all_models_of_the_comparisons_are_there():
    wanted = {"ogbg", "wmt", "imagenet_resnet", "imagenet_vit", "llama_60m", "llama_130m"}
    assert wanted <= set(models())
    assert set(LLAMA) <= set(models())


def test_an_unknown_model_is_an_error():
    with pytest.raises(ValueError, match=r"unknown model 'mnist'; known: .*ogbg.*llama_60m"):
        tensors("mnist", "jax")
