"""`ogbg_small` without its framework: constants, targets, batches and evaluation."""

import abc
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_api import random_utils

from ...base.measured import Batch, MeasuredWorkload
from . import batching, dataset
from .labels import NUM_LABELS
from .metrics import split_metrics
from .source import CHEMICALS


class BaseOgbgSmallWorkload(MeasuredWorkload):
    """AlgoPerf's OGBG with smaller sizes and data, and with its loss and the names of its metrics.

    Different on purpose: loss and accuracy are means over measured labels (`metrics`), and a split
    is evaluated whole whatever the batch size. The loss type is AlgoPerf's for OGBG, although the
    loss is a sigmoid cross-entropy.

    A batch is what `batching.make_batch` returns, on the device: `inputs` (GraphsTuple),
    `targets` and `weights`. Every batch of one queue has the same shapes.
    """

    targets_path = Path(__file__).parent / "targets.json"
    target_metric_name = "mean_average_precision"
    default_dropout_rate = 0.1
    output_module = "decoder"
    num_outputs = NUM_LABELS
    latent_dim = 96
    hidden_dim = 96
    num_message_passing_steps = 3

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._eval_batches: dict[tuple, list[Batch]] = {}

    @property
    def num_train_examples(self) -> int:
        return CHEMICALS.num_train

    @property
    def num_eval_train_examples(self) -> int:
        return 1024

    @property
    def num_validation_examples(self) -> int:
        return CHEMICALS.num_validation

    @property
    def num_test_examples(self) -> int:
        return CHEMICALS.num_test

    @property
    def eval_batch_size(self) -> int:
        return 256

    def check_loss_shapes(self, *shapes: tuple[int, ...]) -> None:
        """Raises ValueError unless labels, logits and mask are (graphs, labels), one shape.

        The `loss_fn` of both frameworks returns AlgoPerf's three values: `summed` over all
        measured labels, `n_valid_examples`, how many those are, and `per_example`, which here as
        in AlgoPerf's OGBG is (graphs, labels). Label smoothing a turns a label y into
        (1 - a) y + a / labels, as there.
        """
        if len(set(shapes)) != 1 or len(shapes[0]) != 2:
            raise ValueError(
                "labels, logits and mask must have one shape (graphs, labels), "
                f"got {', '.join(str(tuple(shape)) for shape in shapes)}"
            )

    @abc.abstractmethod
    def _place_shards(self, molecules: dataset.Molecules, shards: Any, capacity: Any) -> Batch:
        """This process's part of the global batch of `shards`, on its device."""

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

        The train stream is a pure function of `data_rng`, the batch size and the number of
        devices, and the same in both frameworks; the other splits repeat the same batches in
        the same order.
        `cache`, `repeat_final_dataset` and `num_batches` are ignored, as AlgoPerf's OGBG has none.
        Raises DataError if the data is not there, ValueError for a batch size that the number
        of devices does not divide or an unknown split.
        """
        del cache, repeat_final_dataset, num_batches
        if split == "train":
            return self._train_batches(data_rng, data_dir, global_batch_size)
        num_examples = len(self._split_ids(dataset.load(data_dir), split))
        return itertools.cycle(
            self._get_eval_batches(split, num_examples, data_dir, global_batch_size)
        )

    def _train_batches(
        self, data_rng: Any, data_dir: str, global_batch_size: int
    ) -> Iterator[Batch]:
        molecules = dataset.load(data_dir)
        capacity = batching.shard_capacity(molecules, global_batch_size, self._num_shards)
        shards = batching.train_shards(
            molecules,
            self._split_ids(molecules, "train"),
            random_utils.seed_from_rng(data_rng),
            capacity,
            self._num_shards,
        )
        return (self._place_shards(molecules, part, capacity) for part in shards)

    def _get_eval_batches(
        self, split: str, num_examples: int, data_dir: str, global_batch_size: int
    ) -> list[Batch]:
        """The batches of the split's first molecules, made and placed once."""
        key = (split, num_examples, str(data_dir), global_batch_size)
        if key not in self._eval_batches:
            molecules = dataset.load(data_dir)
            ids = self._split_ids(molecules, split)[:num_examples]
            capacity = batching.shard_capacity(molecules, global_batch_size, self._num_shards)
            shards = batching.eval_shards(molecules, ids, capacity, self._num_shards)
            self._eval_batches[key] = [
                self._place_shards(molecules, part, capacity) for part in shards
            ]
        return self._eval_batches[key]

    def _split_ids(self, molecules: dataset.Molecules, split: str) -> range:
        """The train split's first molecules stand for it in evaluations: the order is random."""
        if split == "eval_train":
            return molecules.split_range("train")[: self.num_eval_train_examples]
        return molecules.split_range(split)

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
        """`metrics.split_metrics` of the split's first `num_examples` molecules."""
        del global_step
        batches = self._get_eval_batches(split, num_examples, data_dir, global_batch_size)
        parts = [self._eval_arrays(params, batch, model_state, rng) for batch in batches]
        return split_metrics(
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )
