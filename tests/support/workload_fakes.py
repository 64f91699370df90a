"""Stand-ins for the parts of a workload that a test of another part does not need."""

from typing import Any, TypeVar

import numpy as np

from workloads_overrides.base.rows import RowsWorkload

T = TypeVar("T")


def concrete(cls: type[T], **members: Any) -> T:
    """An instance of an abstract class: `members` are set, what else is abstract is missing."""
    made: Any = type(f"Concrete{cls.__name__}", (cls,), members)
    made.__abstractmethods__ = frozenset()
    return made()


class NumberRows:
    """Row i is (10 i, 10 i + 1), its target i % 3, its weight 1 unless i is in `missing`."""

    def __init__(self, count: int, missing: tuple[int, ...] = ()) -> None:
        self.count = count
        self.missing = missing
        self.asked: list[np.ndarray] = []

    def __len__(self) -> int:
        return self.count

    def batch(self, ids: np.ndarray, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        self.asked.append(ids)
        noise = 0.0 if rng is None else rng.random((len(ids), 2))
        return {
            "inputs": (10 * ids[:, None] + np.arange(2) + noise).astype(np.float32),
            "targets": ids % 3,
            "weights": np.where(np.isin(ids, self.missing), 0, 1).astype(np.float32),
        }


class NumberWorkload(RowsWorkload):
    """Evaluates NumberRows in NumPy; the 'loss' of a row is `params` times its first input."""

    shards = 1

    def __init__(self, **rows: NumberRows) -> None:
        super().__init__()
        self.rows = rows

    @property
    def _num_shards(self) -> int:
        return self.shards

    def _rows(self, split: str, data_dir: str) -> NumberRows:
        if split not in self.rows:
            raise ValueError(f"unknown split {split!r}")
        return self.rows[split]

    def _place(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def _eval_arrays(
        self, params: Any, batch: dict[str, Any], model_state: Any, rng: Any
    ) -> dict[str, np.ndarray]:
        weights = batch["weights"]
        return {
            "loss": weights * params * batch["inputs"][:, 0],
            "accuracy": weights * (batch["targets"] == 1),
            "denominator": weights,
        }


NumberWorkload.__abstractmethods__ = frozenset()
