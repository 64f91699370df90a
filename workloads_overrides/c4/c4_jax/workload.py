"""The C4 workloads in JAX."""

from typing import Any

import jax.numpy as jnp

from ...base.jax_workload import Batch
from ...base.softmax_jax import JaxSoftmaxWorkload
from ..workload import BaseC4Workload
from .models import Llama


class JaxC4Workload(JaxSoftmaxWorkload, BaseC4Workload):
    """A size of it is a subclass with `BaseC4Workload`'s attributes."""

    def _make_model(self) -> Llama:
        dtype = None if self.compute_dtype == "float32" else jnp.dtype(self.compute_dtype)
        return Llama(self.model_config, dtype)

    def _example_batch(self) -> Batch:
        tokens: Any = jnp.zeros((1, 1), jnp.int32)
        return {"inputs": tokens}
