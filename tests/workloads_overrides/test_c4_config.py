"""The LLaMA models' tensors: names, roles, shapes, and the sizes that the names promise."""

import math

import pytest

from workloads_overrides.c4.config import MODELS, SMALL, ModelConfig, Tensor


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("60M", 58_073_600),
        ("130M", 134_105_856),
        ("350M", 367_969_280),
        ("1.3B", 1_339_082_752),
    ],
)
def test_number_of_parameters(model, count):
    assert sum(math.prod(x.shape) for x in MODELS[model].tensors().values()) == count


def test_the_tensors_of_a_model():
    tensors = ModelConfig(hidden=4, ffn=11, layers=2, heads=2, vocab=7).tensors()
    assert len(tensors) == 1 + 2 * 9 + 2
    assert tensors["token_embedding/embedding"] == Tensor((7, 4), "embedding")
    assert tensors["lm_head/kernel"] == Tensor((4, 7), "head")
    assert tensors["final_rms_ln/scale"] == Tensor((4,), "vector")
    for layer in ("layers_0", "layers_1"):
        mine = {path: x for path, x in tensors.items() if path.startswith(f"{layer}/")}
        assert len(mine) == 9
        squares = [path for path, x in mine.items() if x == Tensor((4, 4), "matrix")]
        names = ("query", "key", "value", "out")
        assert squares == [f"{layer}/attention/{name}/kernel" for name in names]
        for name in ("gate_proj", "up_proj"):
            assert mine[f"{layer}/mlp/{name}/kernel"] == Tensor((4, 11), "matrix")
        assert mine[f"{layer}/mlp/down_proj/kernel"] == Tensor((11, 4), "matrix")
        norms = [x for path, x in mine.items() if path.endswith("ln/scale")]
        assert norms == [Tensor((4,), "vector")] * 2


def test_the_published_sizes():
    sizes = {name: (x.hidden, x.ffn, x.layers, x.heads, x.vocab) for name, x in MODELS.items()}
    assert sizes == {
        "60M": (512, 1376, 8, 8, 32_000),
        "130M": (768, 2048, 12, 12, 32_000),
        "350M": (1024, 2736, 24, 16, 32_000),
        "1.3B": (2048, 5461, 24, 32, 32_000),
    }


def test_the_small_size_has_the_shape_of_the_published_ones():
    for config in (SMALL, *MODELS.values()):
        assert abs(config.ffn / config.hidden - 8 / 3) < 0.1
    assert sum(math.prod(x.shape) for x in SMALL.tensors().values()) < 1_000_000


@pytest.mark.parametrize(("hidden", "heads"), [(10, 3), (12, 4), (9, 1)])
def test_heads_that_do_not_fit_fail(hidden, heads):
    with pytest.raises(ValueError, match=f"hidden={hidden} is not a multiple of 2"):
        ModelConfig(hidden=hidden, ffn=8, layers=1, heads=heads)
