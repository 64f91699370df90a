"""optax transformations: `matprec.jax.asgo(learning_rate, ...)` and its like.

>>> import jax.numpy as jnp, optax, matprec.jax
>>> optimizer = matprec.jax.asgo(learning_rate=1e-2, weight_decay=0.1)
>>> params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
>>> state = optimizer.init(params)
>>> updates, state = optimizer.update(params, state, params)
>>> params = optax.apply_updates(params, updates)
"""

from matprec.algorithms import ASGO, NAdamW, Shampoo
from matprec.jax.alias import STATIC_ARGS, make_alias
from matprec.jax.transform import PreconditionState, counters, precondition

asgo = make_alias("asgo", ASGO)
shampoo = make_alias("shampoo", Shampoo)
nadamw = make_alias("nadamw", NAdamW)

BY_ALGORITHM = {ASGO: asgo, NAdamW: nadamw, Shampoo: shampoo}

__all__ = [
    "BY_ALGORITHM",
    "STATIC_ARGS",
    "PreconditionState",
    "asgo",
    "counters",
    "make_alias",
    "nadamw",
    "precondition",
    "shampoo",
]
