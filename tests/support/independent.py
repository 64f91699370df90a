"""What the tests against independent implementations share.

An optimizer is judged by its updates for given gradients at learning rate 1: what one step
subtracts from a parameter that every step finds where the first one did. The difference of two
optimizers is the largest one of an entry in any step, over the largest entry of that step.
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

SHAPES = ((4, 6), (6, 4), (5, 5))


def package(name: str, distribution: str) -> ModuleType:
    """A module of the environment for cross-checks; where it is missing, the caller is skipped."""
    reason = f"{distribution} is not installed here: `make test-cross-checks` installs it"
    return pytest.importorskip(name, reason=reason)


def gradients(shape: tuple[int, int], steps: int) -> np.ndarray:
    """Random gradients (steps, m, n) in float64."""
    return np.random.default_rng([steps, *shape]).normal(size=(steps, *shape))


def weights(shape: tuple[int, int]) -> np.ndarray:
    """Random parameters (m, n) in float64, for weight decay to act on."""
    return np.random.default_rng(shape).normal(size=shape)


def updates(
    make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
    grads: np.ndarray,
    start: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Updates (steps, m, n), weight decay included, of what `make` makes for one parameter."""
    where = torch.as_tensor(np.broadcast_to(start, grads.shape[1:]).copy())
    param = torch.nn.Parameter(where.clone())
    optimizer, found = make([param]), []
    for grad in grads:
        param.data.copy_(where)
        param.grad = torch.as_tensor(grad.copy())  # some packages write into gradients
        optimizer.step()
        found.append((where - param.detach()).numpy())
    return np.stack(found)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Of two arrays of updates (steps, m, n), see above."""
    assert ours.shape == theirs.shape
    errors = np.max(np.abs(ours - theirs), axis=(1, 2))
    return float(np.max(errors / np.max(np.abs(ours), axis=(1, 2))))


def per_step(factors: np.ndarray) -> np.ndarray:
    """(steps,) -> (steps, 1, 1), to scale updates."""
    return factors[:, None, None]
