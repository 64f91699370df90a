"""Muon of PyTorch itself, which takes tensors of two dimensions only."""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import Peer, has_two_dimensions
from speed.settings import LEARNING_RATE, WEIGHT_DECAY


def _muon(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return package.Muon(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


PEERS = (
    Peer(
        name="torch_muon",
        family="muon",
        framework="pytorch",
        module="torch.optim",
        attribute="Muon",
        source="PyTorch 2.9 or newer has it",
        make=_muon,
        takes=has_two_dimensions,
    ),
)
