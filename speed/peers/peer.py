"""What a peer is."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from speed.tensors import Tensor

CROSS_CHECKS = "make .venv-cross-checks, then --peer_python=.venv-cross-checks/bin/python"


class Peer(NamedTuple):
    """An optimizer of another package.

    It works on the tensors that the optimizer of this project that it is compared with takes for
    matrices, as far as it can; AdamW of its framework takes the others, as the fastest there is.

    Attributes:
      name: what it is called here.
      family: the optimizer of this project that it is compared with.
      framework: `jax` or `pytorch`.
      module, attribute: what must be there; an older package may lack it.
      source: how to get that, in half a sentence.
      make: what `build` calls with the imported module. PyTorch: from the parameters that are its
        own to an optimizer. JAX: from all tensors to a transformation, used for its own alone.
      takes: whether it can work on a tensor; those that it cannot go to AdamW.
      file: what a clone of it has, below its root or its folder `src`; empty for packages.
    """

    name: str
    family: str
    framework: str
    module: str
    attribute: str
    source: str
    make: Callable[[Any, Sequence[Any], int], Any]
    takes: Callable[[Tensor], bool] = lambda tensor: True
    file: str = ""

    def build(self, matrices: Sequence[Any], refresh_every: int) -> Any:
        """The optimizer; its module is imported here and nowhere else."""
        return self.make(importlib.import_module(self.module), matrices, refresh_every)


def has_two_dimensions(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2
