"""Multiply-adds of the models, against counts layer by layer and published ones."""

import pytest

from speed.predict import models
from speed.predict.models import model


def convolution(inputs: int, outputs: int, width: int, positions: int) -> int:
    return inputs * outputs * width**2 * positions


def resnet50() -> int:
    """torchvision's version 1.5: the 3 x 3 convolution of a block strides."""
    total, inputs = convolution(3, 64, 7, 112**2), 64
    for width, blocks, size in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            before = 2 * size if block == 0 and width > 64 else size
            total += convolution(inputs, width, 1, before**2) + convolution(
                width, width, 3, size**2
            )
            total += convolution(width, 4 * width, 1, size**2)
            if block == 0:
                total += convolution(inputs, 4 * width, 1, size**2)
            inputs = 4 * width
    return total + 2048 * 1000


def unet() -> int:
    sizes, widths = [(320 // 2**level) ** 2 for level in range(5)], [32, 64, 128, 256, 512]
    total = convolution(1, 32, 3, sizes[0]) + convolution(32, 32, 3, sizes[0])
    for level in range(1, 5):
        total += convolution(widths[level - 1], widths[level], 3, sizes[level])
        total += convolution(widths[level], widths[level], 3, sizes[level])
    for level in range(4, 0, -1):
        total += convolution(widths[level], widths[level - 1], 2, sizes[level])
        total += convolution(widths[level], widths[level - 1], 3, sizes[level - 1])
        total += convolution(widths[level - 1], widths[level - 1], 3, sizes[level - 1])
    return total + convolution(32, 1, 1, sizes[0])


def vit_s16() -> int:
    layer = 196 * (4 * 384**2 + 2 * 384 * 1536) + 2 * 196**2 * 384
    return convolution(3, 384, 16, 196) + 12 * layer


def wmt() -> int:
    """Six layers on each side, width and MLP 1024, 256 positions."""
    attention = 4 * 256 * 1024**2 + 2 * 256**2 * 1024
    mlp = 2 * 256 * 1024**2
    return 6 * (attention + mlp) + 6 * (2 * attention + mlp) + 256 * 1024 * 32_000


@pytest.mark.parametrize(
    ("workload", "counted"),
    [
        ("imagenet_resnet", resnet50()),
        ("fastmri", unet()),
        ("imagenet_vit", vit_s16()),
        ("wmt", wmt()),
    ],
)
def test_multiply_adds_are_those_of_the_layers(workload: str, counted: int):
    assert model(workload).multiply_adds == pytest.approx(counted, rel=2e-3)


def test_published_counts():
    assert resnet50() == pytest.approx(4.09e9, rel=2e-3)  # torchvision's documentation
    assert vit_s16() == pytest.approx(4.6e9, rel=1e-2)  # DeiT-S, arXiv 2012.12877


def test_speech_models_share_their_first_convolutions():
    both = 1000 * 40 * 9 * 512 + 500 * 20 * 9 * 512**2
    for workload in ("librispeech_conformer", "librispeech_deepspeech"):
        rest = model(workload).multiply_adds - both
        # Every other weight at 500 positions, and some of the models' are vectors.
        assert (
            0.9
            < rest / 500 / {"librispeech_conformer": 30e6, "librispeech_deepspeech": 16e6}[workload]
            < 1.1
        )


def test_llama_has_six_flops_per_weight_and_token():
    found = model("llama_60m")
    weights = 8 * (4 * 512**2 + 3 * 512 * 1376) + 512 * 32_000
    tokens = 512 * 256
    assert found.flops * found.batch == pytest.approx(6 * weights * tokens, rel=0.06)
    assert found.flops * found.batch > 6 * weights * tokens


def test_every_workload_has_a_model():
    assert {"ogbg", "criteo1tb", "llama_1.3b"} <= set(models.known())
    for workload in models.known():
        assert model(workload).multiply_adds > 0
        assert model(workload).batch >= 32
