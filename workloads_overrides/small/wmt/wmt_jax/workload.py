"""`wmt_small` in JAX."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_api import jax_sharding_utils

from ....base.jax_workload import Batch
from ....base.softmax_jax import JaxSoftmaxWorkload
from ..workload import BaseWmtSmallWorkload
from .decode import translate
from .models import Transformer


class WmtSmallWorkload(BaseWmtSmallWorkload, JaxSoftmaxWorkload):
    """Arrays of a batch are global and sharded over all devices by their leading axis."""

    def _make_model(self) -> Transformer:
        return Transformer(self.sizes)

    def _example_batch(self) -> Batch:
        tokens = jnp.ones((1, 2), jnp.int32)
        return {"inputs": tokens, "targets": tokens}

    @functools.partial(
        jax.jit,
        static_argnums=(0,),
        in_shardings=(
            jax_sharding_utils.get_replicate_sharding(),
            jax_sharding_utils.get_batch_dim_sharding(),
        ),
        out_shardings=jax_sharding_utils.get_replicate_sharding(),
    )
    def _translate(self, params: Any, inputs: jax.Array) -> jax.Array:
        return translate(self._make_model(), params, inputs, self.sizes.max_length)

    def _eval_arrays(
        self, params: Any, batch: Batch, model_state: Any, rng: Any
    ) -> dict[str, np.ndarray]:
        arrays = super()._eval_arrays(params, batch, model_state, rng)
        arrays["translations"] = np.asarray(self._translate(params, batch["inputs"]))
        arrays["references"] = np.asarray(batch["targets"])
        return arrays
