"""`ogbg_small` in JAX."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ....base.jax_workload import JaxWorkload
from ..batching import Capacity, make_batch
from ..dataset import Molecules
from ..graphs import EDGE_FEATURES, NODE_FEATURES, GraphsTuple
from ..workload import BaseOgbgSmallWorkload, Batch
from .models import GraphNetwork


class OgbgSmallWorkload(BaseOgbgSmallWorkload, JaxWorkload):
    """A shard for every device; logits are (graphs, 30)."""

    def _place_shards(
        self, molecules: Molecules, shards: Sequence[np.ndarray], capacity: Capacity
    ) -> Batch:
        return self._place(make_batch(molecules, shards, capacity))

    def _make_model(self) -> GraphNetwork:
        return GraphNetwork(
            num_outputs=self.num_outputs,
            latent_dim=self.latent_dim,
            hidden_dim=self.hidden_dim,
            num_rounds=self.num_message_passing_steps,
        )

    def _example_batch(self) -> Batch:
        """One graph of one node and one edge."""
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
        return {"inputs": graph}

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

    def _eval_rows(self, logits: jax.Array, batch: Batch) -> dict[str, Any]:
        targets, weights = batch["targets"], batch["weights"]
        losses = self.loss_fn(targets, logits, weights)["per_example"]
        return {"logits": logits, "losses": losses, "targets": targets, "weights": weights}
