"""Distributed Shampoo (Meta), in a clone of github.com/facebookresearch/optimizers.

Shampoo with blocks of 1024 and Adam's lengths, as ours by default, and its SOAP mode
("eigenvalue-corrected"), there with whole matrices: a side beyond LONGEST is cut, where ours leaves
it out. Convolutions become matrices; fused query, key and value weights are one. Its first refresh
is at step `refresh_every`. `torch.compile` is off, its default.
"""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import Peer
from speed.settings import LEARNING_RATE, LONGEST, WEIGHT_DECAY


def _make(package: Any, parameters: Sequence[Any], refresh_every: int, **more: Any) -> Any:
    return package.DistributedShampoo(
        parameters,
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        precondition_frequency=refresh_every,
        distributed_config=package.SingleDeviceDistributedConfig(target_parameter_dimensionality=2),
        **more,
    )


def _shampoo(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return _make(
        package,
        parameters,
        refresh_every,
        betas=(0.9, 0.99),
        max_preconditioner_dim=1024,
        grafting_config=package.AdamPreconditionerConfig(beta2=0.99, epsilon=1e-8),
    )


def _soap(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return _make(
        package,
        parameters,
        refresh_every,
        betas=(0.95, 0.95),
        max_preconditioner_dim=LONGEST,
        preconditioner_config=package.DefaultSOAPConfig,
    )


def _peer(name: str, family: str, make: Any) -> Peer:
    return Peer(
        name=name,
        family=family,
        framework="pytorch",
        module="distributed_shampoo",
        attribute="DistributedShampoo",
        source="--peer_path=a clone of github.com/facebookresearch/optimizers",
        make=make,
        file="distributed_shampoo/distributed_shampoo.py",
    )


PEERS = (
    _peer("distributed_shampoo", "shampoo", _shampoo),
    _peer("distributed_shampoo_soap", "soap", _soap),
)
