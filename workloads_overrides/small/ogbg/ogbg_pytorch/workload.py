"""`ogbg_small` in PyTorch."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from algoperf_api import param_utils, pytorch_utils, random_utils, spec

from ..batching import Capacity, make_batch
from ..dataset import Molecules
from ..graphs import EDGE_FEATURES, NODE_FEATURES, GraphsTuple
from ..workload import BaseOgbgSmallWorkload, Batch
from .models import GraphNetwork

USE_PYTORCH_DDP, RANK, DEVICE, _ = pytorch_utils.pytorch_setup()


class OgbgSmallWorkload(BaseOgbgSmallWorkload):
    """Under DDP a rank's batch is its own shard; otherwise one device has all of it."""

    @property
    def _num_shards(self) -> int:
        return dist.get_world_size() if USE_PYTORCH_DDP else 1

    def _place(
        self, molecules: Molecules, shards: Sequence[np.ndarray], capacity: Capacity
    ) -> Batch:
        batch = make_batch(molecules, shards[RANK : RANK + 1], capacity)
        graph = [None if array is None else _to_device(array) for array in batch["inputs"]]
        return {
            "inputs": GraphsTuple(*graph),
            "targets": _to_device(batch["targets"]),
            "weights": _to_device(batch["weights"]),
        }

    def init_model_fn(self, rng: Any) -> tuple[nn.Module, None]:
        """(model on the device, no model state); sets `param_shapes` and the types."""
        torch.manual_seed(random_utils.seed_from_rng(rng))
        model = GraphNetwork(
            num_node_features=NODE_FEATURES,
            num_edge_features=EDGE_FEATURES,
            num_outputs=self.num_outputs,
            latent_dim=self.latent_dim,
            hidden_dim=self.hidden_dim,
            num_rounds=self.num_message_passing_steps,
        )
        self._param_shapes = param_utils.pytorch_param_shapes(model)
        self._param_types = param_utils.pytorch_param_types(self._param_shapes)
        model.to(DEVICE)
        if USE_PYTORCH_DDP:
            device_ids = [RANK] if DEVICE.type == "cuda" else None
            return DistributedDataParallel(model, device_ids=device_ids), None
        return model, None

    def model_fn(
        self,
        params: nn.Module,
        augmented_and_preprocessed_input_batch: Batch,
        model_state: Any,
        mode: spec.ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: float = 0.1,
    ) -> tuple[torch.Tensor, Any]:
        """(logits (graphs, 30), `model_state` as it came). The rate counts in TRAIN only.

        Dropout draws from PyTorch's own generator, as AlgoPerf's workloads do; `rng` is not used.
        """
        del rng, update_batch_norm
        train = mode == spec.ForwardPassMode.TRAIN
        params.train(train)
        with contextlib.nullcontext() if train else torch.no_grad():
            graph = augmented_and_preprocessed_input_batch["inputs"]
            return params(graph, dropout_rate=dropout_rate), model_state

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

    def _eval_arrays(
        self, params: nn.Module, batch: Batch, model_state: Any, rng: Any
    ) -> tuple[np.ndarray, ...]:
        mode = spec.ForwardPassMode.EVAL
        logits, _ = self.model_fn(params, batch, model_state, mode, rng, update_batch_norm=False)
        losses = self.loss_fn(batch["targets"], logits, batch["weights"])["per_example"]
        arrays = (logits, losses, batch["targets"], batch["weights"])
        return tuple(_gather(array).cpu().numpy() for array in arrays)


def _to_device(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(array, device=DEVICE)


def _gather(tensor: torch.Tensor) -> torch.Tensor:
    """The rows of every rank, one rank after the other; all ranks have equally many."""
    if not USE_PYTORCH_DDP:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
