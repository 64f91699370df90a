"""Muon of optax.contrib, on the same 2-D views of kernels as ours."""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import Peer
from speed.settings import LEARNING_RATE, WEIGHT_DECAY
from speed.tensors import Tensor


def _muon(package: Any, tensors: Sequence[Tensor], refresh_every: int) -> Any:
    def dimensions(tensor: Tensor) -> Any:
        """Which axes are inputs, of flax's kernels."""
        axes = tuple(range(len(tensor.shape)))
        split = 1 if tensor.role == "attention_in" else len(axes) - 1
        return package.MuonDimensionNumbers(axes[:split], axes[split:])

    numbers = [dimensions(tensor) for tensor in tensors]
    return package.muon(
        LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        muon_weight_dimension_numbers=numbers,
        consistent_rms=0.2,
    )


PEERS = (
    Peer(
        name="optax_contrib_muon",
        family="muon",
        framework="jax",
        module="optax.contrib",
        attribute="MuonDimensionNumbers",
        source="optax 0.2.6 or newer: "
        "make .venv-latest, then --peer_python=.venv-latest/bin/python",
        make=_muon,
    ),
)
