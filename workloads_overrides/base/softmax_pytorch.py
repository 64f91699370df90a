"""Softmax cross-entropy over rows in PyTorch: the loss and the sums that evaluations need."""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .pytorch_workload import Batch, PytorchWorkload
from .rows import RowsWorkload
from .softmax_shapes import check_loss_shapes

# Logits of a large vocabulary are taken in parts of so many entries, 256 MB in single precision.
_PART_ENTRIES = 1 << 26


def cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float
) -> torch.Tensor:
    """(1 - a) * NLL + a * mean over classes, in single precision at least: (N,) of (N, classes).

    Of many logits in parts of the rows, which the backward pass computes again: PyTorch would else
    hold three arrays as large as all logits in single precision at once. The values are the same.
    """
    rows = max(1, _PART_ENTRIES // logits.shape[-1])
    if len(logits) <= rows:
        return _cross_entropy(logits, labels, label_smoothing)
    parts = [
        # Nothing random is in it, and asking a GPU for its random state would wait for it.
        checkpoint(
            _cross_entropy, *part, label_smoothing, use_reentrant=False, preserve_rng_state=False
        )
        for part in zip(logits.split(rows), labels.split(rows), strict=True)
    ]
    return torch.cat(parts)


def _cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float
) -> torch.Tensor:
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(wide, labels, reduction="none", label_smoothing=label_smoothing)


class PytorchSoftmaxWorkload(PytorchWorkload, RowsWorkload):
    """Integer labels of any shape (B, ...), logits with one more axis, weights per label."""

    def loss_fn(
        self,
        label_batch: torch.Tensor,
        logits_batch: torch.Tensor,
        mask_batch: torch.Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, torch.Tensor]:
        """`summed`, `n_valid_examples` and `per_example` (shape of the labels), 0 where masked.

        (1 - a) * NLL + a * mean over classes, in single precision at least. All three are of this
        process alone: callers sum `summed` and `n_valid_examples` over ranks.
        """
        ones = torch.ones(label_batch.shape, device=logits_batch.device)
        mask = ones if mask_batch is None else mask_batch
        check_loss_shapes(label_batch.shape, logits_batch.shape, mask.shape)
        # PyTorch refuses labels that are no classes, even where they do not count.
        labels = torch.where(mask != 0, label_batch, 0)
        losses = cross_entropy(logits_batch.flatten(0, -2), labels.flatten(), label_smoothing)
        losses = torch.where(mask != 0, losses.view(label_batch.shape), 0.0)
        return {"summed": losses.sum(), "n_valid_examples": mask.sum(), "per_example": losses}

    def _eval_rows(self, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        weights, targets = batch["weights"], batch["targets"]
        correct = torch.where(weights != 0, (logits.argmax(-1) == targets).float(), 0.0)
        losses = self.loss_fn(targets, logits, weights)["per_example"]
        arrays = {"loss": losses, "accuracy": correct, "denominator": weights}
        return {name: x.reshape(len(x), -1).sum(1) for name, x in arrays.items()}
