"""Random state as AlgoPerf hands it out: JAX keys in JAX, pairs of NumPy integers in PyTorch.

AlgoPerf's `random_utils` chooses by a command-line flag; here the framework is an argument.
"""

from typing import Any

import numpy as np

_WORD_LIMIT = 2**31 - 1  # exclusive; seeds of RandomState are not negative


class JaxRandom:
    """AlgoPerf's generator in JAX: `jax.random`."""

    def __init__(self) -> None:
        import jax.random

        self._random = jax.random

    def key(self, seed: int) -> Any:
        return self._random.PRNGKey(seed)

    def split(self, rng: Any, num: int = 2) -> Any:
        return self._random.split(rng, num)

    def fold_in(self, rng: Any, data: int) -> Any:
        return self._random.fold_in(rng, data)


class NumpyRandom:
    """AlgoPerf's generator in PyTorch: `np.random.RandomState` over pairs of integers."""

    def _words(self, rng: Any, *shape: int) -> Any:
        """Integers of AlgoPerf's range from the generator that `rng` seeds."""
        seed = np.asarray(rng, dtype=np.int64) % _WORD_LIMIT
        return np.random.RandomState(seed).randint(_WORD_LIMIT, size=shape, dtype=np.int32)

    def key(self, seed: int) -> Any:
        return self.split(seed)[0]

    def split(self, rng: Any, num: int = 2) -> Any:
        return self._words(rng, num, 2)

    def fold_in(self, rng: Any, data: int) -> Any:
        return [self._words(rng, 1)[0], data]


def for_framework(framework: str) -> JaxRandom | NumpyRandom:
    """The generator of `framework`, 'jax' or 'pytorch'."""
    return {"jax": JaxRandom, "pytorch": NumpyRandom}[framework]()


def seed_from_rng(rng: Any) -> int:
    """A seed for NumPy's generators from either framework's random state, or from an int."""
    words = np.asarray(rng, dtype=np.uint64).ravel()
    return int(
        np.random.SeedSequence([int(word) for word in words]).generate_state(1, np.uint64)[0]
    )
