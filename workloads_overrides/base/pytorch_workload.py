"""A workload in PyTorch: a module over this process's rows of a batch, under DDP or alone."""

import abc
import contextlib
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from algoperf_api import param_utils, pytorch_utils, random_utils, spec

from .measured import Batch, MeasuredWorkload
from .pytorch_batch_norm import set_update_statistics

USE_PYTORCH_DDP, RANK, DEVICE, _ = pytorch_utils.pytorch_setup()


class PytorchWorkload(MeasuredWorkload):
    """Under DDP a rank has its own rows of a global batch; otherwise one device has all of it.

    The module is called as `module(*inputs, dropout_rate=...)` and returns logits. Dropout draws
    from PyTorch's own generator, as in AlgoPerf's workloads. The model state is None: what there
    is lives in the module.
    """

    @property
    def _num_shards(self) -> int:
        return dist.get_world_size() if USE_PYTORCH_DDP else 1

    def _place(self, batch: Batch) -> Batch:
        return self._place_own({name: self._own_rows(array) for name, array in batch.items()})

    def _own_rows(self, array: np.ndarray) -> np.ndarray:
        size = len(array) // self._num_shards
        return array[RANK * size : (RANK + 1) * size]

    def _place_own(self, batch: Batch) -> Batch:
        return {name: to_device(array) for name, array in batch.items()}

    @abc.abstractmethod
    def _make_model(self) -> nn.Module:
        """A new, initialised module, from PyTorch's own generator."""

    def _model_inputs(self, batch: Batch) -> tuple[Any, ...]:
        """What of a batch the module takes."""
        return (batch["inputs"],)

    @abc.abstractmethod
    def _eval_rows(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """What an evaluation needs of this process's rows."""

    def num_parameters(self) -> int:
        """Of the model, whose tensors are neither computed nor stored for it."""
        with torch.device("meta"):
            model = self._make_model()
        return sum(parameter.numel() for parameter in model.parameters())

    def init_model_fn(self, rng: Any) -> tuple[nn.Module, None]:
        """(module on the device, no model state); sets `param_shapes` and the types."""
        torch.manual_seed(random_utils.seed_from_rng(rng))
        model = self._make_model()
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
        dropout_rate: float | None = None,
    ) -> tuple[torch.Tensor, Any]:
        """(logits, `model_state` as it came). The rate (None: the default) counts in TRAIN only.

        In TRAIN the statistics of this batch, over all ranks, normalise it, whether or not
        `update_batch_norm` lets them into the running ones; in EVAL the running ones do.
        """
        del rng
        train = mode == spec.ForwardPassMode.TRAIN
        params.train(train)
        set_update_statistics(params, train and update_batch_norm)
        rate = self.default_dropout_rate if dropout_rate is None else dropout_rate
        with contextlib.nullcontext() if train else torch.no_grad():
            inputs = self._model_inputs(augmented_and_preprocessed_input_batch)
            return params(*inputs, dropout_rate=rate), model_state

    @torch.no_grad()
    def _eval_arrays(
        self, params: nn.Module, batch: Batch, model_state: Any, rng: Any
    ) -> dict[str, np.ndarray]:
        """`_eval_rows` of the global batch, on the host of every rank."""
        mode = spec.ForwardPassMode.EVAL
        logits, _ = self.model_fn(params, batch, model_state, mode, rng, update_batch_norm=False)
        rows = self._eval_rows(logits, batch)
        return {name: gather(tensor).cpu().numpy() for name, tensor in rows.items()}


def to_device(array: np.ndarray) -> torch.Tensor:
    """Integers become int64, which PyTorch's indexing wants."""
    dtype = torch.int64 if array.dtype.kind in "iu" else None
    return torch.as_tensor(array, dtype=dtype, device=DEVICE)


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """The rows of every rank, one rank after the other; all ranks have equally many."""
    if not USE_PYTORCH_DDP:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
