"""Data-parallel shardings over all devices: AlgoPerf's functions where installed, else the same."""

from typing import TYPE_CHECKING, Any

from algoperf_api import HAS_ALGOPERF

if HAS_ALGOPERF and not TYPE_CHECKING:
    from algoperf.jax_sharding_utils import (
        get_batch_dim_sharding,
        get_replicate_sharding,
        replicate,
        shard_along_batch_dim,
    )
else:
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    def _mesh() -> Mesh:
        return Mesh(jax.devices(), ("batch",))

    def get_replicate_sharding() -> NamedSharding:
        return NamedSharding(_mesh(), PartitionSpec())

    def get_batch_dim_sharding() -> NamedSharding:
        return NamedSharding(_mesh(), PartitionSpec("batch"))

    def replicate(tree: Any) -> Any:
        return jax.device_put(tree, get_replicate_sharding())

    def shard_along_batch_dim(tree: Any) -> Any:
        return jax.device_put(tree, get_batch_dim_sharding())


__all__ = [
    "get_batch_dim_sharding",
    "get_replicate_sharding",
    "replicate",
    "shard_along_batch_dim",
]
