"""Optimizers over tensors of a model's shapes, without the model: PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

import matprec.torch
from speed import plans
from speed.contenders import own_settings, refreshes
from speed.peers import PEERS
from speed.settings import LEARNING_RATE, SCALE, WEIGHT_DECAY
from speed.tensors import Tensor
from submissions.registry import OPTIMIZERS

COMMON: dict[str, Any] = {"lr": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}


class Stepper:
    """Parameters, gradients to choose from, and an optimizer; `step` is what is timed."""

    def __init__(
        self,
        name: str,
        tensors: Sequence[Tensor],
        refresh_every: int,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        chance = torch.Generator().manual_seed(0)
        self._parameters = [
            torch.nn.Parameter(SCALE * torch.randn(shape, generator=chance)) for shape, _ in tensors
        ]
        # Two, so that no step meets the gradient of the step before.
        self._gradients = [
            [SCALE * torch.randn(shape, generator=chance) for shape, _ in tensors] for _ in range(2)
        ]
        self._optimizer = _make(name, self._parameters, tensors, refresh_every, settings or {})

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
        """Of all tensors that can be found in the state, after a step."""
        return _bytes(self._optimizer.state_dict()["state"], set())


def _bytes(value: object, seen: set[int]) -> int:
    """Of tensors in containers and in objects' attributes, each one once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, list | tuple):
        return sum(_bytes(item, seen) for item in value)
    if isinstance(value, dict):
        return sum(_bytes(item, seen) for item in value.values())
    return _bytes(vars(value), seen) if hasattr(value, "__dict__") else 0


def _make(
    name: str,
    parameters: list[torch.nn.Parameter],
    tensors: Sequence[Tensor],
    refresh_every: int,
    settings: Mapping[str, Any],
) -> Any:
    if name == "torch_adamw_fused":
        return torch.optim.AdamW(parameters, fused=True, **COMMON)
    if name == "torch_adamw_foreach":
        return torch.optim.AdamW(parameters, foreach=True, **COMMON)
    if name in PEERS:
        return _Both(name, parameters, tensors, refresh_every)
    algorithm = OPTIMIZERS[name].algorithm
    assert algorithm is not None
    more = own_settings(name, settings)
    if refreshes(name):
        more["refresh_every"] = refresh_every
    roles = [tensor.role for tensor in tensors]
    return matprec.torch.BY_ALGORITHM[algorithm](parameters, roles=roles, **COMMON, **more)


class _Both:
    """A peer for the matrices, and AdamW for the rest."""

    def __init__(
        self,
        name: str,
        parameters: list[torch.nn.Parameter],
        tensors: Sequence[Tensor],
        refresh_every: int,
    ) -> None:
        peer = PEERS[name]
        taken = [
            matrix and peer.takes(tensor)
            for matrix, tensor in zip(
                plans.matrices(peer.family, tensors, "pytorch"), tensors, strict=True
            )
        ]
        pairs = list(zip(parameters, taken, strict=True))
        others = [parameter for parameter, mine in pairs if not mine]
        self._parts = [peer.build([p for p, mine in pairs if mine], refresh_every)]
        if others:
            self._parts.append(torch.optim.AdamW(others, fused=True, **COMMON))

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Of peers the state itself: not every package can tell it."""
        return {"state": [dict(part.state) for part in self._parts]}
