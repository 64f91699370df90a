"""HeavyBall (written for 3.2.1): SOAP, Muon and KL-Shampoo.

Its `torch.compile` is on, as users have it, in inductor's mode `default`, since its own mode tries
kernels for many minutes; that it compiles in the first period of steps is not timed. It needs a C++
compiler. SOAP's refreshes follow the average interval, not a fixed one. Fused query, key and value
weights are one matrix to it; convolutions keep their four dimensions, one factor each, in SOAP and
KL-Shampoo.
"""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import CROSS_CHECKS, Peer
from speed.settings import LEARNING_RATE, LONGEST, WEIGHT_DECAY

SOAP_LIKE = {"max_precond_dim": LONGEST, "merge_dims": False}


def _make(class_name: str, **settings: Any) -> Any:
    def make(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
        package.utils.compile_mode = "default"
        more = settings | ({"precondition_frequency": refresh_every} if settings else {})
        optimizer = getattr(package, class_name)
        return optimizer(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, **more)

    return make


def _peer(name: str, family: str, class_name: str, **settings: Any) -> Peer:
    return Peer(
        name=name,
        family=family,
        framework="pytorch",
        module="heavyball",
        attribute=class_name,
        source=CROSS_CHECKS,
        make=_make(class_name, **settings),
    )


PEERS = (
    _peer("heavyball_soap", "soap", "SOAP", **SOAP_LIKE),
    _peer("heavyball_kl_shampoo", "kl_shampoo", "KLShampoo", **SOAP_LIKE),
    _peer("heavyball_muon", "muon", "Muon"),
)
