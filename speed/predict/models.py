"""Multiply-adds of a forward pass and batch sizes of the models whose steps are predicted.

Counted from the architectures: for every weight the number of positions it is applied at, and the
two products of attention. Images are 224 x 224 (fastMRI: 320 x 320), sequences of wmt 256 tokens
and padded to that, recordings 320,000 samples, which are 2,000 frames and, after two convolutions
of stride 2, 500 positions. A training step does three times the products of a forward pass.
"""

import functools
import math
from dataclasses import dataclass

import speed.tensors
from speed.tensors import LLAMA, tensors
from workloads_overrides.c4.config import ModelConfig

TRAINING = 3  # a forward pass, and the gradients of inputs and of weights
MULTIPLY_ADD = 2


@dataclass(frozen=True)
class Model:
    """multiply_adds: of one example's forward pass; batch: examples of a step, over all devices."""

    multiply_adds: float
    batch: int

    @property
    def flops(self) -> float:
        """Of the matrix products of one training step of one example."""
        return TRAINING * MULTIPLY_ADD * self.multiply_adds


def known() -> list[str]:
    """Names of the workloads; the model for a CPU is none of them."""
    return [name for name in speed.tensors.models() if name != "llama_small"]


@functools.cache
def model(workload: str) -> Model:
    """Of a model of `speed.tensors.models`, with the batch size of AlgoPerf's NAdamW baseline; for
    the LLaMA models, the published 512 sequences of 256 tokens."""
    if workload in LLAMA:
        return _llama(LLAMA[workload])
    return {
        # A bottom and a top MLP; embeddings are looked up.
        "criteo1tb": Model(_dense("criteo1tb"), 262_144),
        # U-Net of 32 channels and four poolings.
        "fastmri": Model(18.80e9, 32),
        "imagenet_resnet": Model(4.09e9, 1024),  # ResNet-50, stride in the 3 x 3 convolutions
        "imagenet_vit": Model(4.57e9, 1024),  # ViT-S/16
        "librispeech_conformer": Model(
            _speech("librispeech_conformer") + _attention(4, 500, 512), 256
        ),
        "librispeech_deepspeech": Model(_speech("librispeech_deepspeech"), 256),
        # Every weight on the edges of an average molecule, 28 bonds in both directions: an upper
        # bound, and still next to nothing.
        "ogbg": Model(56 * _dense("ogbg"), 512),
        # Encoder and decoder see 256 positions each; the embedding is the head as well.
        "wmt": Model(256 * (_dense("wmt") + 32_000 * 1024) + _attention(18, 256, 1024), 128),
    }[workload]


def _dense(workload: str) -> int:
    """Weights that are multiplied with, each counted once."""
    return sum(
        math.prod(tensor.shape)
        for tensor in tensors(workload, "jax")
        if tensor.role not in ("vector", "embedding")
    )


def _speech(workload: str) -> int:
    """Two convolutions, 40 and then 20 frequencies high, and everything else at 500 positions."""
    first, second = 9 * 512, 9 * 512 * 512
    rest = _dense(workload) - first - second
    return 1000 * 40 * first + 500 * 20 * second + 500 * rest


def _attention(layers: int, length: int, width: int) -> int:
    return layers * 2 * length**2 * width


def _llama(config: ModelConfig) -> Model:
    weights = sum(
        math.prod(shape)
        for shape, role in config.tensors().values()
        if role not in ("vector", "embedding")
    )
    return Model(256 * weights + _attention(config.layers, 256, config.hidden), 512)
