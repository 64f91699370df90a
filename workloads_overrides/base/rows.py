"""Workloads whose examples are rows of arrays: batches in order, exact evaluation of whole splits.

Everything here is NumPy and the same in both frameworks: one seed gives the same batches.
"""

import abc
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from algoperf_api import random_utils

from .measured import Batch, MeasuredWorkload
from .prefetch import Prefetched
from .row_order import RowOrder

# Of a global batch's row numbers those that are wanted.
Part = Callable[[np.ndarray], np.ndarray]


class Rows(Protocol):
    """The examples of one split, numbered from 0.

    A class whose batches have in row i what depends on `ids[i]` alone, not on the generator either,
    may say so by an attribute `row_by_row = True`: then a process reads its own rows only.
    """

    def __len__(self) -> int: ...

    def batch(self, ids: np.ndarray, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        """`inputs`, `targets` and `weights` (float32, 0 where a target is not one) of rows `ids`.

        `rng`, given in training only, is for augmentation.
        """
        ...


def _whole(ids: np.ndarray) -> np.ndarray:
    return ids


def train_batches(
    rows: Rows, batch_size: int, seed: int, start: int = 0, part: Part = _whole
) -> Iterator[Batch]:
    """Endless global batches from number `start` on; batch k is a function of (seed, k) alone.

    With a `part`, which makes sense where rows are `row_by_row`, only these rows of each.
    """
    order = RowOrder(len(rows), seed)
    for k in itertools.count(start):
        key = np.array([seed, k], np.uint64)  # as a list, seeds above 2**63 would become floats
        rng = np.random.Generator(np.random.Philox(key=key))
        yield rows.batch(part(order.rows(k * batch_size, batch_size)), rng)


def eval_batches(
    rows: Rows, num_examples: int, batch_size: int, part: Part = _whole
) -> Iterator[Batch]:
    """The first `num_examples` rows in order; the last batch is filled up with weights of 0."""
    for start in range(0, num_examples, batch_size):
        ids = part(np.arange(start, start + batch_size))
        batch = rows.batch(np.minimum(ids, num_examples - 1), None)
        batch["weights"][ids >= num_examples] = 0
        yield batch


class RowsWorkload(MeasuredWorkload):
    """Input queues and evaluation over `Rows`. A framework's class says where batches go.

    A batch is what `Rows.batch` returns, on the device.

    Attributes:
      prefetched_batches: so many are read ahead by a thread; 0: they are read when they are needed,
        which a run that is kept to one core does better with.
    """

    prefetched_batches: int = 0

    @abc.abstractmethod
    def _rows(self, split: str, data_dir: str) -> Rows:
        """The rows of 'train', 'eval_train', 'validation' or 'test'; ValueError for others."""

    def _split_metrics(self, arrays: dict[str, np.ndarray], data_dir: str) -> dict[str, float]:
        """The metrics of a split from the arrays of all its rows.

        Here: `loss` and `accuracy`, sums per row, divided by the sum of `denominator`.
        """
        del data_dir
        count = arrays["denominator"].sum(dtype=np.float64)
        sums = {name: arrays[name].sum(dtype=np.float64) for name in ("loss", "accuracy")}
        return {name: float(total / count) for name, total in sums.items()}

    def _build_input_queue(
        self,
        data_rng: Any,
        split: str,
        data_dir: str,
        global_batch_size: int,
        cache: bool | None = None,
        repeat_final_dataset: bool | None = None,
        num_batches: int | None = None,
    ) -> Iterator[Batch]:
        """Endless batches of split 'train', 'eval_train', 'validation' or 'test'.

        The train stream is a pure function of `data_rng` and the batch size, and the same in both
        frameworks; the other splits repeat the same batches in the same order.
        `cache`, `repeat_final_dataset` and `num_batches` are ignored.
        Raises DataError if the data is not there, ValueError for a batch size that the number of
        devices does not divide or an unknown split.
        """
        del cache, repeat_final_dataset, num_batches
        if split == "train":
            return self.train_queue(data_rng, data_dir, global_batch_size)
        self._check_batch_size(global_batch_size)
        rows = self._rows(split, data_dir)

        def passes(part: Part) -> Iterator[Batch]:
            while True:
                yield from eval_batches(rows, len(rows), global_batch_size, part)

        return self._placed(rows, passes)

    def train_queue(
        self, data_rng: Any, data_dir: str, global_batch_size: int, start: int = 0
    ) -> Iterator[Batch]:
        """The training stream of `_build_input_queue` from batch `start` on, at no cost for those
        before it."""
        self._check_batch_size(global_batch_size)
        rows = self._rows("train", data_dir)
        seed = random_utils.seed_from_rng(data_rng)
        return self._placed(
            rows, functools.partial(train_batches, rows, global_batch_size, seed, start)
        )

    def _placed(self, rows: Rows, batches: Callable[[Part], Iterator[Batch]]) -> Iterator[Batch]:
        """This process's part of global batches, on its device.

        `batches` makes NumPy's from what part of the row numbers it is to read. They may be made
        in another thread; they are placed on the device in the one that asks for them.
        """
        if getattr(rows, "row_by_row", False):
            made, place = batches(self._own_rows), self._place_own
        else:
            made, place = batches(_whole), self._place
        if self.prefetched_batches:
            made = Prefetched(made, self.prefetched_batches)
        return map(place, made)

    def _check_batch_size(self, size: int) -> None:
        if size < self._num_shards or size % self._num_shards:
            raise ValueError(f"batch size {size} is not a multiple of {self._num_shards} devices")

    def _eval_model_on_split(
        self,
        split: str,
        num_examples: int,
        global_batch_size: int,
        params: Any,
        model_state: Any,
        rng: Any,
        data_dir: str,
        global_step: int = 0,
    ) -> dict[str, float]:
        """`_split_metrics` of the split's first `num_examples` rows."""
        del global_step
        self._check_batch_size(global_batch_size)
        rows = self._rows(split, data_dir)
        if not 0 < num_examples <= len(rows):
            raise ValueError(f"num_examples={num_examples}; split {split!r} has {len(rows)}")
        parts = [
            self._eval_arrays(params, batch, model_state, rng)
            for batch in self._placed(
                rows, functools.partial(eval_batches, rows, num_examples, global_batch_size)
            )
        ]
        arrays = {
            name: np.concatenate([part[name] for part in parts])[:num_examples] for name in parts[0]
        }
        return self._split_metrics(arrays, data_dir)
