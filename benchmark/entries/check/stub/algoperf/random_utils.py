"""`algoperf_api.random_utils`."""

from algoperf_api.random_utils import *  # noqa: F403
