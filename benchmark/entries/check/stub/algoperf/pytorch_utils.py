"""`algoperf_api.pytorch_utils`."""

from algoperf_api.pytorch_utils import *  # noqa: F403
