"""Counts where a model has dropout."""

from typing import Any

import pytest


class Counting:
    """Stands in for every dropout of a model and drops nothing.

    Attributes:
      shapes: of what passes it, in order.
      drawn: in JAX, how many entries each forward pass wants masks for.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.drawn: list[int] = []

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        self.shapes.append(tuple(x.shape))
        return x

    @classmethod
    def in_pytorch(cls, monkeypatch: pytest.MonkeyPatch) -> "Counting":
        counting = cls()
        monkeypatch.setattr("torch.nn.functional.dropout", counting)
        return counting

    @classmethod
    def in_jax(cls, monkeypatch: pytest.MonkeyPatch, module: str) -> "Counting":
        """`module` is where the model is, which makes one `Dropout` per forward pass."""
        counting = cls()

        def made(key: Any, rate: Any, size: int) -> Counting:
            counting.drawn.append(size)
            return counting

        monkeypatch.setattr(f"{module}.Dropout", made)
        return counting
