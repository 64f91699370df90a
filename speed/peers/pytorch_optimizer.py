"""pytorch-optimizer (written for 4.1.0): SOAP, two Shampoos, DASH and Muon.

`pytorch_optimizer_shampoo` is its scalable Shampoo, with blocks of 1024 as ours and RMSprop's
lengths; `pytorch_optimizer_shampoo_plain` has whole matrices however long, so that tensors with a
side beyond LONGEST go to AdamW, and takes their roots by SVD. DASH is a Shampoo whose blocks are
stacked; its roots are taken by `eigh`, on a CPU several times faster than its default, a Newton
iteration. Convolutions keep their four dimensions, one factor each, in SOAP and the plain Shampoo.
Fused query, key and value weights are one matrix.
"""

from collections.abc import Sequence
from typing import Any

from speed.peers.peer import CROSS_CHECKS, Peer
from speed.settings import LEARNING_RATE, LONGEST, WEIGHT_DECAY
from speed.tensors import Tensor


def _soap(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return package.SOAP(
        parameters,
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        precondition_frequency=refresh_every,
        max_precondition_dim=LONGEST,
    )


def _scalable_shampoo(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return package.ScalableShampoo(
        parameters,
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        decoupled_weight_decay=True,
        start_preconditioning_step=1,
        preconditioning_compute_steps=refresh_every,
        block_size=1024,
        graft_type=package.optimizer.utils.graft.LayerWiseGrafting.RMSPROP,
    )


def _plain_shampoo(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return package.Shampoo(
        parameters,
        lr=LEARNING_RATE,
        momentum=0.9,
        weight_decay=WEIGHT_DECAY,
        weight_decouple=True,
        preconditioning_compute_steps=refresh_every,
    )


def _dash(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    return package.DASH(
        parameters,
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        block_size=1024,
        precondition_frequency=refresh_every,
        inverse_root_method="eigh",
    )


def _muon(package: Any, parameters: Sequence[Any], refresh_every: int) -> Any:
    group = {"params": list(parameters), "use_muon": True}
    return package.Muon([group], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _fits(tensor: Tensor) -> bool:
    return max(tensor.shape) <= LONGEST


def _peer(name: str, family: str, class_name: str, make: Any, **settings: Any) -> Peer:
    return Peer(
        name=name,
        family=family,
        framework="pytorch",
        module="pytorch_optimizer",
        attribute=class_name,
        source=CROSS_CHECKS,
        make=make,
        **settings,
    )


PEERS = (
    _peer("pytorch_optimizer_soap", "soap", "SOAP", _soap),
    _peer("pytorch_optimizer_shampoo", "shampoo", "ScalableShampoo", _scalable_shampoo),
    _peer("pytorch_optimizer_shampoo_plain", "shampoo", "Shampoo", _plain_shampoo, takes=_fits),
    _peer("pytorch_optimizer_dash", "shampoo", "DASH", _dash),
    _peer("pytorch_optimizer_muon", "muon", "Muon", _muon),
)
