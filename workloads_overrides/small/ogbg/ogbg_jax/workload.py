"""`ogbg_small` in JAX."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_api import jax_sharding_utils, param_utils, spec

from ..batching import Capacity, make_batch
from ..dataset import Molecules
from ..graphs import EDGE_FEATURES, NODE_FEATURES, GraphsTuple
from ..workload import BaseOgbgSmallWorkload, Batch
from .models import GraphNetwork


class OgbgSmallWorkload(BaseOgbgSmallWorkload):
    """Arrays of a batch are global and sharded over all devices by their leading axis."""

    @property
    def _num_shards(self) -> int:
        return jax.device_count()

    def _place(
        self, molecules: Molecules, shards: Sequence[np.ndarray], capacity: Capacity
    ) -> Batch:
        return jax_sharding_utils.shard_along_batch_dim(make_batch(molecules, shards, capacity))

    @functools.cached_property
    def _model(self) -> GraphNetwork:
        return GraphNetwork(
            num_outputs=self.num_outputs,
            latent_dim=self.latent_dim,
            hidden_dim=self.hidden_dim,
            num_rounds=self.num_message_passing_steps,
        )

    @functools.cached_property
    def _init(self) -> Any:
        """The model's `init`, compiled in 1 s instead of 4: it runs once, on one node."""
        return jax.jit(
            functools.partial(self._model.init, train=False, dropout_rate=0.0),
            compiler_options={"xla_backend_optimization_level": 0},
        )

    def init_model_fn(self, rng: jax.Array) -> tuple[Any, None]:
        """(parameters on every device, no model state); sets `param_shapes` and the types."""
        one = jnp.ones(1, jnp.int32)
        graph = GraphsTuple(
            nodes=jnp.ones((1, NODE_FEATURES)),
            edges=jnp.ones((1, EDGE_FEATURES)),
            receivers=one - 1,
            senders=one - 1,
            globals=None,
            n_node=one,
            n_edge=one,
        )
        params = self._init({"params": rng}, graph)["params"]
        self._param_shapes = param_utils.jax_param_shapes(params)
        self._param_types = param_utils.jax_param_types(self._param_shapes)
        return jax_sharding_utils.replicate(params), None

    def model_fn(
        self,
        params: Any,
        augmented_and_preprocessed_input_batch: Batch,
        model_state: Any,
        mode: spec.ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: float | jax.Array = 0.1,
    ) -> tuple[jax.Array, Any]:
        """(logits (graphs, 30), `model_state` as it came). `rng` and the rate count in TRAIN."""
        del update_batch_norm
        train = mode == spec.ForwardPassMode.TRAIN
        logits: Any = self._model.apply(
            {"params": params},
            augmented_and_preprocessed_input_batch["inputs"],
            train=train,
            dropout_rate=dropout_rate,
            rngs={"dropout": rng} if train else None,
        )
        return logits, model_state

    def loss_fn(
        self,
        label_batch: jax.Array,
        logits_batch: jax.Array,
        mask_batch: jax.Array | None = None,
        label_smoothing: float | jax.Array = 0.0,
    ) -> dict[str, jax.Array]:
        """Sigmoid cross-entropy of every label, 0 where the mask is; see the base class."""
        mask = jnp.ones_like(logits_batch) if mask_batch is None else mask_batch
        self.check_loss_shapes(label_batch.shape, logits_batch.shape, mask.shape)
        labels = jnp.where(mask != 0, label_batch, 0.0)
        labels = (1.0 - label_smoothing) * labels + label_smoothing / labels.shape[-1]
        losses = optax.sigmoid_binary_cross_entropy(logits_batch, labels)
        losses = jnp.where(mask != 0, losses, 0.0)
        return {"summed": losses.sum(), "n_valid_examples": mask.sum(), "per_example": losses}

    @functools.partial(
        jax.jit,
        static_argnums=(0,),
        in_shardings=(
            jax_sharding_utils.get_replicate_sharding(),
            jax_sharding_utils.get_batch_dim_sharding(),
            jax_sharding_utils.get_replicate_sharding(),
            jax_sharding_utils.get_replicate_sharding(),
        ),
        out_shardings=jax_sharding_utils.get_replicate_sharding(),
    )
    def _eval_batch(
        self, params: Any, batch: Batch, model_state: Any, rng: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Logits and losses, both (graphs, 30)."""
        mode = spec.ForwardPassMode.EVAL
        logits, _ = self.model_fn(params, batch, model_state, mode, rng, update_batch_norm=False)
        return logits, self.loss_fn(batch["targets"], logits, batch["weights"])["per_example"]

    def _eval_arrays(
        self, params: Any, batch: Batch, model_state: Any, rng: Any
    ) -> tuple[np.ndarray, ...]:
        logits, losses = self._eval_batch(params, batch, model_state, rng)
        arrays = (logits, losses, batch["targets"], batch["weights"])
        return tuple(np.asarray(array) for array in arrays)
