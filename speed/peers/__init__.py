"""Other packages' optimizers, to be timed beside this project's. One file per package.

None of the packages is imported before an optimizer is made: all names are known without them.
"""

from speed.peers import (
    distributed_shampoo,
    heavyball,
    optax_contrib,
    pytorch_optimizer,
    soap_jax,
    soap_reference,
    torch_optim,
)
from speed.peers.peer import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer
    for package in (
        torch_optim,
        heavyball,
        pytorch_optimizer,
        distributed_shampoo,
        soap_reference,
        optax_contrib,
        soap_jax,
    )
    for peer in package.PEERS
}
