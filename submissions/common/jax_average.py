"""Averaged weights for evaluation, in JAX.

An exponential moving average of the parameters and of the model state (batch norm's running
statistics: those of the trained weights would not fit the averaged ones), in the proportion 1/t
at first, so that it never leans on the initial weights. The harness trains on with what
`prepare_for_eval` returns, so the trained weights wait in the average's place, and the next step
takes them back; that averaging, and the average over the statistics, are this project's choice.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from algoperf_api import jax_sharding_utils

Average = dict[str, Any]


def init(params: Any, model_state: Any) -> Average:
    """An average of nothing yet; `swapped` tells that it holds the trained weights instead."""
    # Copies: the step donates this state and the parameters.
    held = jax.tree.map(jnp.copy, (params, model_state))
    return {"held": held, "count": jnp.zeros((), jnp.int32), "swapped": jnp.zeros((), bool)}


def training(average: Average, params: Any, model_state: Any) -> tuple[Any, Any]:
    """The weights and model state to train on."""
    return _choose(average["swapped"], average["held"], (params, model_state))


def update(average: Average, before: Any, after: Any, decay: float) -> Average:
    """The average with the weights and model state `after` a step.

    `before` are those that the step was handed, the average itself where they were swapped.
    """
    held = _choose(average["swapped"], before, average["held"])
    count = average["count"] + 1
    weight = jnp.maximum(1.0 - decay, 1.0 / count)
    mixed = jax.tree.map(lambda old, new: _mix(old, new, weight), held, after)
    return {"held": mixed, "count": count, "swapped": jnp.zeros((), bool)}


def swap(average: Average, params: Any, model_state: Any) -> tuple[Average, Any, Any]:
    """(average, parameters, model state) with the averaged ones to evaluate; again changes none."""
    return _compiled_swap()(average, (params, model_state))


@functools.cache
def _compiled_swap() -> Callable[..., tuple[Average, Any, Any]]:
    def swap(average: Average, current: Any) -> tuple[Average, Any, Any]:
        shown = _choose(average["swapped"], current, average["held"])
        held = _choose(average["swapped"], average["held"], current)
        return average | {"held": held, "swapped": jnp.ones((), bool)}, *shown

    return jax.jit(swap, out_shardings=jax_sharding_utils.get_replicate_sharding())


def _choose(condition: jax.Array, first: Any, second: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


def _mix(old: jax.Array, new: jax.Array, weight: jax.Array) -> jax.Array:
    if not jnp.issubdtype(old.dtype, jnp.floating):
        return new
    return (old + weight * (new - old)).astype(old.dtype)
