"""`ogbg_small` in PyTorch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ....base.pytorch_workload import RANK, PytorchWorkload, to_device
from ..batching import Capacity, make_batch
from ..dataset import Molecules
from ..graphs import EDGE_FEATURES, NODE_FEATURES, GraphsTuple
from ..workload import BaseOgbgSmallWorkload, Batch
from .models import GraphNetwork


class OgbgSmallWorkload(BaseOgbgSmallWorkload, PytorchWorkload):
    """Under DDP a rank's batch is its own shard; logits are (graphs, 30)."""

    def _place_shards(
        self, molecules: Molecules, shards: Sequence[np.ndarray], capacity: Capacity
    ) -> Batch:
        batch = make_batch(molecules, shards[RANK : RANK + 1], capacity)
        graph = [None if array is None else to_device(array) for array in batch["inputs"]]
        return {
            "inputs": GraphsTuple(*graph),
            "targets": to_device(batch["targets"]),
            "weights": to_device(batch["weights"]),
        }

    def _make_model(self) -> GraphNetwork:
        return GraphNetwork(
            num_node_features=NODE_FEATURES,
            num_edge_features=EDGE_FEATURES,
            num_outputs=self.num_outputs,
            latent_dim=self.latent_dim,
            hidden_dim=self.hidden_dim,
            num_rounds=self.num_message_passing_steps,
        )

    def loss_fn(
        self,
        label_batch: torch.Tensor,
        logits_batch: torch.Tensor,
        mask_batch: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, torch.Tensor]:
        """Sigmoid cross-entropy of every label, 0 where the mask is; see the base class.

        All three are of this process alone: callers sum `summed` and `n_valid_examples` over ranks.
        """
        mask = torch.ones_like(logits_batch) if mask_batch is None else mask_batch
        self.check_loss_shapes(label_batch.shape, logits_batch.shape, mask.shape)
        labels = torch.where(mask != 0, label_batch, 0.0)
        labels = (1.0 - label_smoothing) * labels + label_smoothing / labels.shape[-1]
        losses = F.binary_cross_entropy_with_logits(logits_batch, labels, reduction="none")
        losses = torch.where(mask != 0, losses, 0.0)
        return {
            "summed": losses.sum(),
            "n_valid_examples": mask.sum(dtype=losses.dtype),
            "per_example": losses,
        }

    def _eval_rows(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        targets, weights = batch["targets"], batch["weights"]
        losses = self.loss_fn(targets, logits, weights)["per_example"]
        return {"logits": logits, "losses": losses, "targets": targets, "weights": weights}
