"""`algoperf_api.jax_sharding_utils`."""

from algoperf_api.jax_sharding_utils import *  # noqa: F403
