"""Optimizers over arrays of a model's shapes, without the model: JAX."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import matprec.jax
from speed.contenders import LEARNING_RATE, SCALE, WEIGHT_DECAY, refreshes
from speed.tensors import Tensor


class Stepper:
    """Parameters, gradients to choose from, and an optimizer; `step` is what is timed."""

    def __init__(self, name: str, tensors: Sequence[Tensor], refresh_every: int) -> None:
        chance = np.random.default_rng(0)

        def arrays() -> list[jax.Array]:
            return [
                jnp.asarray(np.float32(SCALE) * chance.standard_normal(shape, np.float32))
                for shape, _ in tensors
            ]

        self._parameters = arrays()
        # Two, so that no step meets the gradient of the step before.
        self._gradients = [arrays(), arrays()]
        self._optimizer = _make(name, tensors, refresh_every)
        self._state = jax.jit(self._optimizer.init)(self._parameters)
        self._step: Any = None
        self._chosen = self._gradients[0]

    def prepare(self, number: int) -> None:
        """Not timed: the gradients of step `number`."""
        self._chosen = self._gradients[number % 2]

    def step(self) -> None:
        self._parameters, self._state = self._step(self._parameters, self._chosen, self._state)
        jax.block_until_ready(self._parameters)

    def compile(self) -> float:
        """Seconds of tracing and compiling; a step follows at once."""

        def step(parameters: Any, gradients: Any, state: Any) -> tuple[Any, Any]:
            updates, state = self._optimizer.update(gradients, state, parameters)
            return optax.apply_updates(parameters, updates), state

        start = time.perf_counter()
        jitted = jax.jit(step, donate_argnums=(0, 2))
        self._step = jitted.lower(self._parameters, self._chosen, self._state).compile()
        return time.perf_counter() - start

    def state_bytes(self) -> int:
        """Of all arrays of the state."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self._state))


def _make(name: str, tensors: Sequence[Tensor], refresh_every: int) -> optax.GradientTransformation:
    if name == "optax_adamw":
        return optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    more = {"refresh_every": refresh_every} if refreshes(name) else {}
    roles = [tensor.role for tensor in tensors]
    optimizer = getattr(matprec.jax, name)
    return optimizer(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, roles=roles, **more)
