"""`algoperf_api.spec`."""

from algoperf_api.spec import *  # noqa: F403
