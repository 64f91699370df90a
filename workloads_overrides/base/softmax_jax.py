"""Softmax cross-entropy over rows in JAX: the loss and the sums that evaluations need."""

from typing import Any

import jax
import jax.numpy as jnp

from .jax_workload import Batch, JaxWorkload
from .rows import RowsWorkload
from .softmax_shapes import check_loss_shapes


def cross_entropy(labels: jax.Array, logits: jax.Array, label_smoothing: Any) -> jax.Array:
    """(1 - a) * NLL + a * mean over classes, in single precision at least, shape of `labels`.

    Labels that are no classes give a value without meaning.
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    log_sum = jax.nn.logsumexp(logits, axis=-1)
    # Indexing has a gradient that is scattered into zeros, which needs one more array as large as
    # the logits in single precision: of C4's batch of 512 rows that would be 17 GB.
    is_label = labels[..., None] == jnp.arange(logits.shape[-1])
    chosen = jnp.where(is_label, logits, 0.0).sum(-1)
    return log_sum - (1.0 - label_smoothing) * chosen - label_smoothing * logits.mean(-1)


class JaxSoftmaxWorkload(JaxWorkload, RowsWorkload):
    """Integer labels of any shape (B, ...), logits with one more axis, weights per label."""

    def loss_fn(
        self,
        label_batch: jax.Array,
        logits_batch: jax.Array,
        mask_batch: jax.Array | None = None,
        label_smoothing: float | jax.Array = 0.0,
    ) -> dict[str, jax.Array]:
        """`summed`, `n_valid_examples` and `per_example` (shape of the labels), 0 where masked."""
        mask = jnp.ones(label_batch.shape, jnp.float32) if mask_batch is None else mask_batch
        check_loss_shapes(label_batch.shape, logits_batch.shape, mask.shape)
        losses = cross_entropy(label_batch, logits_batch, label_smoothing)
        losses = jnp.where(mask != 0, losses, 0.0)
        return {"summed": losses.sum(), "n_valid_examples": mask.sum(), "per_example": losses}

    def _eval_rows(self, logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        weights, targets = batch["weights"], batch["targets"]
        correct = jnp.where(weights != 0, logits.argmax(-1) == targets, 0.0)
        losses = self.loss_fn(targets, logits, weights)["per_example"]
        arrays = {"loss": losses, "accuracy": correct, "denominator": weights}
        return {name: x.reshape(len(x), -1).sum(1) for name, x in arrays.items()}
