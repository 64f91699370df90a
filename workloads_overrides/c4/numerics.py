"""What both frameworks share: constants, tables of rotary embeddings, names of modules."""

import functools
import re

import numpy as np

RMS_NORM_EPS = 1e-6
ROPE_BASE = 10_000.0
INIT_STD = 0.02  # of every matrix and the embedding, untruncated

_PYTORCH_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}


@functools.cache
def rope_tables(length: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (length, head_dim / 2) of rotary embeddings (arXiv 2104.09864), float64.

    Frequency j is base**(-2 j / head_dim) and turns the pair of features (j, j + head_dim / 2),
    the halves' layout of LLaMA's published weights, not the paper's neighbours. The frameworks
    round the tables to the precision that they compute in, which is single at least.
    """
    frequencies = ROPE_BASE ** (-2.0 * np.arange(head_dim // 2) / head_dim)
    angles = np.outer(np.arange(length), frequencies)
    return np.cos(angles), np.sin(angles)


def pytorch_name(flax_module_dotted: str) -> str:
    """A module's dotted name in the PyTorch model, from the one in flax.

    `layers_3.attention.query` is `layers.3.attention.q_proj`; the modules outside of the layers
    have the same name in both. The names give AlgoPerf's rules the same types in both.
    """
    match = re.fullmatch(r"layers_(\d+)\.(.+)", flax_module_dotted)
    if match is None:
        return flax_module_dotted
    number, rest = match.groups()
    if rest.startswith("attention."):
        rest = f"attention.{_PYTORCH_PROJECTIONS[rest.removeprefix('attention.')]}"
    return f"layers.{number}.{rest}"
