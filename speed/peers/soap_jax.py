"""soap_jax, in a clone of github.com/haydn-jones/SOAP_JAX.

Kernels of more than two dimensions keep them, one factor each.
"""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import Peer
from speed.settings import LEARNING_RATE, LONGEST, WEIGHT_DECAY
from speed.tensors import Tensor


def _soap(package: Any, tensors: Sequence[Tensor], refresh_every: int) -> Any:
    return package.soap(
        LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        precondition_frequency=refresh_every,
        max_precond_dim=LONGEST,
    )


PEERS = (
    Peer(
        name="soap_jax",
        family="soap",
        framework="jax",
        module="soap_jax",
        attribute="soap",
        source="--peer_path=a clone of github.com/haydn-jones/SOAP_JAX, and a --peer_python "
        "with optax 0.2.3 or newer, chex and jaxtyping",
        make=_soap,
        file="soap_jax/soap.py",
    ),
)
