"""Batches of `ogbg_small` are cut for a number of devices: what one device has to be given then."""

from typing import Any

import numpy as np

from algoperf_api import random_utils
from workloads_overrides.small.ogbg import batching, dataset


def merged_batch(data_dir: str, data_rng: Any, size: int, num_shards: int) -> dict[str, Any]:
    """The first training batch as cut for `num_shards` devices, put together in one shard."""
    molecules = dataset.load(data_dir)
    capacity = batching.shard_capacity(molecules, size, num_shards)
    seed = random_utils.seed_from_rng(data_rng)
    ids = molecules.split_range("train")
    shards = next(batching.train_shards(molecules, ids, seed, capacity, num_shards))
    room = batching.Capacity.of(molecules, 2 * size)
    return batching.make_batch(molecules, [np.concatenate(shards)], room)
