"""How much state an optimizer keeps, counted on shapes alone: nothing is allocated.

>>> import jax, jax.numpy as jnp, matprec.jax
>>> params = {"kernel": jax.ShapeDtypeStruct((4, 3), jnp.bfloat16)}
>>> state_size(matprec.jax.nadamw(1e-3), params)
StateSize(elements=24, counters=4, bytes=112)
"""

from typing import Any, NamedTuple

import jax
import optax

from matprec.jax.transform import PreconditionState
from matprec.step import COUNTERS


class StateSize(NamedTuple):
    """What parameters add to an optimizer's state; sizes of several trees may be summed.

    Scalars, of which an optimizer has one or two however large the model, are left out.

    Attributes:
      elements: numbers in moments, statistics, roots and bases.
      counters: those of `matprec.step.COUNTERS`, a few per matrix.
      bytes: of elements and counters, in the dtypes in which they are kept.
    """

    elements: int
    counters: int
    bytes: int


def state_size(optimizer: optax.GradientTransformation, params: Any) -> StateSize:
    """The size of any optax optimizer's state for a pytree of arrays or `jax.ShapeDtypeStruct`s."""
    state = jax.eval_shape(optimizer.init, params)
    elements, counters = [], []
    for node in jax.tree.leaves(state, is_leaf=_is_ours):
        if not _is_ours(node):
            elements.append(node)
            continue
        for stack in node.stacks:
            for key, array in stack.items():
                (counters if key in COUNTERS else elements).append(array)
    elements = [array for array in elements if array.ndim > 0]
    return StateSize(
        elements=sum(array.size for array in elements),
        counters=sum(array.size for array in counters),
        bytes=sum(array.size * array.dtype.itemsize for array in elements + counters),
    )


def _is_ours(node: Any) -> bool:
    return isinstance(node, PreconditionState)
