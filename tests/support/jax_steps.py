"""Pytrees of random arrays, jitted steps and comparisons for the tests of `matprec.jax`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimizers

import matprec.jax

SHAPES = {
    "dense": {"kernel": (3, 4), "bias": (4,)},
    "twin": (3, 4),
    "one": (1, 1),
    "row": (1, 5),
    "empty": (0, 3),
    "scalar": (),
}


def normal(seed, shapes: Any = SHAPES, dtype="float32"):
    """A pytree of random arrays."""
    rng = np.random.default_rng(seed)

    def make(shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    return jax.tree.map(make, shapes, is_leaf=lambda node: isinstance(node, tuple))


def make(name, learning_rate: Any = 0.1, **settings: Any):
    """An optimizer with weight decay and a refresh every second step."""
    return optimizers.alias(name)(
        learning_rate, **{"weight_decay": 0.1} | optimizers.quick(name, **settings)
    )


class Trainer:
    """A jitted training step that counts how often it is traced."""

    def __init__(self, optimizer, name="", **jit_options):
        self.optimizer, self.name, self.traces = optimizer, name, 0
        self.step = jax.jit(self._step, **jit_options)

    def _step(self, params, state, grads):
        self.traces += 1
        updates, state = self.optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    @property
    def compilations(self):
        return self.step._cache_size()  # type: ignore[attr-defined]

    def run(self, params, grads, state=None):
        state = self.optimizer.init(params) if state is None else state
        for g in grads:
            params, state = self.step(params, state, g)
        return params, state


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), a, b)


def assert_finite(tree):
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(tree))


def assert_changed(a, b):
    """Every array that has elements."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.size == 0 or not np.array_equal(x, y)


def dtypes(tree):
    return jax.tree.map(lambda x: x.dtype.name, tree)


def only(has_it, tree):
    """The one node of a pytree that has something."""
    (node,) = [node for node in jax.tree.leaves(tree, is_leaf=has_it) if has_it(node)]
    return node


def state_of(tree):
    """The one PreconditionState in an optimizer's state."""
    return only(lambda node: isinstance(node, matprec.jax.PreconditionState), tree)


def injected_into(tree):
    """The hyperparameters that `optax.inject_hyperparams` keeps in an optimizer's state."""
    return only(lambda node: hasattr(node, "hyperparams"), tree).hyperparams
