"""Averaged weights for evaluation, in PyTorch; `jax_average` says what is averaged and why."""

from typing import Any

import torch


class WeightAverage:
    """The exponential moving average of a model's parameters and floating-point buffers.

    Args:
      model: its tensors are changed in place, so that DDP and compiled models keep theirs.
      decay: of the average, in [0, 1).
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._held = [tensor.detach().clone() for tensor in self._tensors()]
        self._count = 0
        self._swapped = False

    def _tensors(self) -> list[torch.Tensor]:
        # Anew each time: AlgoPerf's own batch norms put new tensors in the place of their buffers.
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return [tensor for tensor in tensors if tensor.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """After a step: take the weights into the average, in the proportion 1/t at first."""
        self._count += 1
        weight = max(1.0 - self._decay, 1.0 / self._count)
        for held, tensor in zip(self._held, self._tensors(), strict=True):
            held.lerp_(tensor, weight)

    def show(self) -> None:
        """Put the average into the model, to be evaluated; the trained weights wait here."""
        if not self._swapped:
            self._swap()

    def train(self) -> None:
        """Take the trained weights back."""
        if self._swapped:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for held, tensor in zip(self._held, self._tensors(), strict=True):
            kept = tensor.clone()
            tensor.copy_(held)
            held.copy_(kept)
        self._swapped = not self._swapped

    def state_dict(self) -> dict[str, Any]:
        """What it holds; a checkpoint of the model beside it holds the other half."""
        return {"held": self._held, "count": self._count, "swapped": self._swapped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, with the model that was saved beside it."""
        for mine, given in zip(self._held, state_dict["held"], strict=True):
            mine.copy_(given)
        self._count, self._swapped = state_dict["count"], state_dict["swapped"]
