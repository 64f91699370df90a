"""The shapes that steps are timed on, against what is known of the models."""

import json
import math
from pathlib import Path

import pytest

from matprec.layout import ROLES
from speed.tensors import LLAMA, ShapesError, copies, models, tensors, timed_models

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


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_wmt_without_its_embedding(framework: str):
    whole, rest = tensors("wmt", framework), tensors("wmt_no_embedding", framework)
    gone = [tensor for tensor in whole if tensor not in rest]
    assert {role for _, role in gone} == {"embedding"}
    assert len(whole) == len(rest) + len(gone)
    assert set(timed_models()) - set(models()) == {"wmt_no_embedding"}


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_equal_matrices(framework: str):
    assert tensors("3x4x5", framework) == (((4, 5), "matrix"),) * 3


@pytest.mark.parametrize("name", ["3x4", "3x4x5x6", "0x4x5", "3x04x5", "3x4x-5", "ax4x5", "3x4x5 "])
def test_other_names_are_no_numbers_of_matrices(name: str):
    assert copies(name) is None
    with pytest.raises(ValueError, match="unknown model"):
        tensors(name, "jax")


# ---------------------------------------- files
FILE = {"pytorch": [[[4, 6], "matrix"], [[4], "vector"]], "jax": [[[6, 4], "matrix"]]}


def test_shapes_of_a_file(tmp_path: Path):
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(FILE))
    assert tensors(str(path), "pytorch") == (((4, 6), "matrix"), ((4,), "vector"))
    assert tensors(str(path), "jax") == (((6, 4), "matrix"),)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not of the form"),
        ("[]", "not of the form"),
        ('{"jax": []}', "not of the form.*'pytorch'"),
        ('{"pytorch": []}', "no shapes for pytorch"),
        ('{"pytorch": [[4, 6]]}', "not of the form"),
        ('{"pytorch": [[[4, 6], "kernel"]]}', "role 'kernel' is not one of matrix"),
        ('{"pytorch": [[[4, 0], "matrix"]]}', r"\[4, 0\] is no shape of positive integers"),
        ('{"pytorch": [[[4, 1.5], "matrix"]]}', r"\[4, 1.5\] is no shape of positive integers"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(content: str, told: str, tmp_path: Path):
    path = tmp_path / "shapes.json"
    path.write_text(content)
    with pytest.raises(ShapesError, match=f"shapes.json: .*{told}") as error:
        tensors(str(path), "pytorch")
    assert "\n" not in str(error.value)


def test_no_file(tmp_path: Path):
    with pytest.raises(ShapesError, match=r"none\.json: No such file"):
        tensors(str(tmp_path / "none.json"), "jax")
