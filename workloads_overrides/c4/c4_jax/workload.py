"""The C4 workloads in JAX."""

from typing import Any

import jax
import jax.numpy as jnp

from ...base.jax_workload import Batch
from ...base.softmax_jax import JaxSoftmaxWorkload
from ..constants import C4Constants, C4Llama60MConstants, C4Llama350MConstants
from ..workload import BaseC4Workload
from .models import Llama


class JaxC4Workload(JaxSoftmaxWorkload, BaseC4Workload):
    """A size of it is a subclass with `BaseC4Workload`'s attributes."""

    def _make_model(self) -> Llama:
        name = self._matrix_dtype
        return Llama(self.model_config, None if name is None else jnp.dtype(name))

    def _has_bfloat16(self) -> bool:
        return has_bfloat16(jax.devices()[0])

    def _example_batch(self) -> Batch:
        tokens: Any = jnp.zeros((1, 1), jnp.int32)
        return {"inputs": tokens}


def has_bfloat16(device: Any) -> bool:
    """Whether the JAX device multiplies matrices of bfloat16: TPUs, NVIDIA's GPUs since Ampere."""
    if device.platform != "gpu":
        return device.platform == "tpu"
    # "8.0"; other makers' GPUs have names such as "gfx90a" there, and count as having none.
    major = str(getattr(device, "compute_capability", "")).partition(".")[0]
    return major.isdecimal() and int(major) >= 8


class C4Workload(C4Constants, JaxC4Workload):
    """The 130M model."""


class C4Llama60MWorkload(C4Llama60MConstants, JaxC4Workload):
    """The 60M model."""


class C4Llama350MWorkload(C4Llama350MConstants, JaxC4Workload):
    """The 350M model."""
