"""Optimizers over tensors of a model's shapes, without the model: PyTorch."""

from collections.abc import Sequence
from typing import Any

import torch

import matprec.torch
from speed.contenders import LEARNING_RATE, SCALE, WEIGHT_DECAY, refreshes
from speed.tensors import Tensor
from submissions.registry import OPTIMIZERS


class Stepper:
    """Parameters, gradients to choose from, and an optimizer; `step` is what is timed."""

    def __init__(self, name: str, tensors: Sequence[Tensor], refresh_every: int) -> None:
        chance = torch.Generator().manual_seed(0)
        self._parameters = [
            torch.nn.Parameter(SCALE * torch.randn(shape, generator=chance)) for shape, _ in tensors
        ]
        # Two, so that no step meets the gradient of the step before.
        self._gradients = [
            [SCALE * torch.randn(shape, generator=chance) for shape, _ in tensors] for _ in range(2)
        ]
        self._optimizer = _make(name, self._parameters, tensors, refresh_every)

    def prepare(self, number: int) -> None:
        """Not timed: the gradients of step `number`."""
        for parameter, gradient in zip(self._parameters, self._gradients[number % 2], strict=True):
            parameter.grad = gradient

    def step(self) -> None:
        self._optimizer.step()

    def compile(self) -> float:
        """Seconds; PyTorch runs as it is."""
        return 0.0

    def state_bytes(self) -> int:
        """Of all tensors of the state, after a step."""
        state = self._optimizer.state_dict()["state"].values()
        return sum(_bytes(value) for entry in state for value in entry.values())


def _bytes(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def _make(
    name: str,
    parameters: list[torch.nn.Parameter],
    tensors: Sequence[Tensor],
    refresh_every: int,
) -> torch.optim.Optimizer:
    kwargs: dict[str, Any] = {"lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}
    if name == "torch_adamw_fused":
        return torch.optim.AdamW(parameters, fused=True, **kwargs)
    if name == "torch_adamw_foreach":
        return torch.optim.AdamW(parameters, foreach=True, **kwargs)
    roles = [tensor.role for tensor in tensors]
    if name == "torch_muon":
        return _Both(parameters, roles, kwargs)
    algorithm = OPTIMIZERS[name].algorithm
    assert algorithm is not None
    if refreshes(name):
        kwargs["refresh_every"] = refresh_every
    return matprec.torch.BY_ALGORITHM[algorithm](parameters, roles=roles, **kwargs)


class _Both(torch.optim.Optimizer):
    """torch.optim.Muon, which takes matrices only, and AdamW for the rest."""

    def __init__(
        self, parameters: list[torch.nn.Parameter], roles: list[str], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(parameters, {})
        pairs = list(zip(parameters, roles, strict=True))
        muon = [p for p, role in pairs if p.ndim == 2 and role not in ("embedding", "head")]
        ids = {id(p) for p in muon}
        others = [p for p in parameters if id(p) not in ids]
        self._parts = [
            torch.optim.Muon(muon, **kwargs),
            torch.optim.AdamW(others, fused=True, **kwargs),
        ]

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part in self._parts:
            part.step(closure)

    def state_dict(self) -> dict:
        entries = [entry for part in self._parts for entry in part.state_dict()["state"].values()]
        return {"state": dict(enumerate(entries)), "param_groups": []}
