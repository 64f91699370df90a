"""SOAP by its authors, in a clone of github.com/nikhilvyas/SOAP.

Convolutions keep their four dimensions, one factor each; fused query, key and value weights are one
matrix.
"""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import Peer
from speed.settings import LEARNING_RATE, LONGEST, WEIGHT_DECAY


def _soap(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return package.SOAP(
        parameters,
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        precondition_frequency=refresh_every,
        max_precond_dim=LONGEST,
    )


PEERS = (
    Peer(
        name="soap_reference",
        family="soap",
        framework="pytorch",
        module="soap",
        attribute="SOAP",
        source="--peer_path=a clone of github.com/nikhilvyas/SOAP",
        make=_soap,
        file="soap.py",
    ),
)
