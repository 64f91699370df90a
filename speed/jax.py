"""Optimizers over arrays of a model's shapes, without the model: JAX."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import matprec.jax
from speed import plans
from speed.contenders import own_settings, refreshes
from speed.peers import PEERS
from speed.settings import LEARNING_RATE, SCALE, WEIGHT_DECAY
from speed.tensors import Tensor


class Stepper:
    """Parameters, gradients to choose from, and an optimizer; `step` is what is timed."""

    def __init__(
        self,
        name: str,
        tensors: Sequence[Tensor],
        refresh_every: int,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        chance = np.random.default_rng(0)

        def arrays() -> list[jax.Array]:
            return [
                jnp.asarray(np.float32(SCALE) * chance.standard_normal(shape, np.float32))
                for shape, _ in tensors
            ]

        self._parameters = arrays()
        # Two, so that no step meets the gradient of the step before.
        self._gradients = [arrays(), arrays()]
        self._optimizer = _make(name, tensors, refresh_every, settings or {})
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


def _make(
    name: str, tensors: Sequence[Tensor], refresh_every: int, settings: Mapping[str, Any]
) -> optax.GradientTransformation:
    adamw = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    if name == "optax_adamw":
        return adamw
    if name in PEERS:
        return _both(name, tensors, refresh_every, adamw)
    more = own_settings(name, settings)
    if refreshes(name):
        more["refresh_every"] = refresh_every
    roles = [tensor.role for tensor in tensors]
    optimizer = getattr(matprec.jax, name)
    return optimizer(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, roles=roles, **more)


def _both(
    name: str, tensors: Sequence[Tensor], refresh_every: int, adamw: optax.GradientTransformation
) -> optax.GradientTransformation:
    """A peer for the matrices, and AdamW for the rest."""
    peer = PEERS[name]
    labels = [
        "peer" if matrix and peer.takes(tensor) else "adamw"
        for matrix, tensor in zip(plans.matrices(peer.family, tensors, "jax"), tensors, strict=True)
    ]
    parts: dict[Any, Any] = {"peer": peer.build(tensors, refresh_every), "adamw": adamw}
    return optax.multi_transform(parts, labels)
