"""`c4_small` in JAX."""

from ....c4.c4_jax.workload import JaxC4Workload
from ..workload import C4SmallConstants


class C4SmallWorkload(C4SmallConstants, JaxC4Workload):
    """Every line but the constants is shared with the large sizes."""
