"""The LLaMA models' tensors: names, roles, shapes, and the sizes that the names promise."""

import math

import pytest

from workloads_overrides.c4.llama import MODELS, Llama, Tensor


@pytest.mark.parametrize(
    ("model", "millions"), [("60M", 58.07), ("130M", 134.11), ("350M", 367.97), ("1.3B", 1339.08)]
)
def test_number_of_parameters(model, millions):
    total = sum(math.prod(tensor.shape) for tensor in MODELS[model].tensors().values())
    assert round(total / 1e6, 2) == millions


def test_the_tensors_of_a_model():
    tensors = Llama(hidden=4, ffn=11, layers=2, vocab=7).tensors()
    assert len(tensors) == 1 + 2 * 9 + 2
    assert tensors["embedding"] == Tensor((7, 4), "embedding")
    assert tensors["head"] == Tensor((4, 7), "head")
    assert tensors["norm"] == Tensor((4,), "vector")
    for layer in ("layer_0", "layer_1"):
        mine = {path: x for path, x in tensors.items() if path.startswith(f"{layer}/")}
        assert len(mine) == 9
        assert [x.shape for x in mine.values()].count((4, 4)) == 4
        assert mine[f"{layer}/mlp/gate"] == mine[f"{layer}/mlp/up"] == Tensor((4, 11), "matrix")
        assert mine[f"{layer}/mlp/down"] == Tensor((11, 4), "matrix")
        norms = [x for path, x in mine.items() if path.endswith("norm")]
        assert norms == [Tensor((4,), "vector")] * 2


def test_the_published_sizes():
    sizes = {name: (x.hidden, x.ffn, x.layers, x.vocab) for name, x in MODELS.items()}
    assert sizes == {
        "60M": (512, 1376, 8, 32_000),
        "130M": (768, 2048, 12, 32_000),
        "350M": (1024, 2736, 24, 32_000),
        "1.3B": (2048, 5461, 24, 32_000),
    }
