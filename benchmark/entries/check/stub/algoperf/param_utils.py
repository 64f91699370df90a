"""`algoperf_api.param_utils`."""

from algoperf_api.param_utils import *  # noqa: F403
