"""A small classifier of noisy images, in both frameworks and in both precisions, for comparisons of
several devices with one. Some rows do not count, so that the devices' shares differ in weight.

Gradients have full rank, or their sum has it after a few steps, so that the bases of every
optimizer are determined and do not hang on rounding.
"""

from typing import Any

import numpy as np

from workloads_overrides.base.rows import RowsWorkload

ROWS, BATCH, CLASSES = 64, 16, 10
IMAGE = (4, 4, 5)
WIDTH, KERNEL = 6, (1, 2)
# (out, in) of the layers after a convolution and a mean over the image. There are few shapes (the
# convolution is a matrix like "wide"), so that stacks can be shared and JAX has little to compile.
LAYERS = {
    "square_0": (WIDTH, WIDTH),
    "square_1": (WIDTH, WIDTH),
    "square_2": (WIDTH, WIDTH),
    "tall": (10, WIDTH),
    "wide": (WIDTH, 10),
    "head": (CLASSES, WIDTH),
}


class NoisyRows:
    """A pattern of channels for every class, and noise."""

    def __init__(self, dtype: np.dtype) -> None:
        patterns = np.random.default_rng(0).normal(size=(CLASSES, IMAGE[-1]))
        rng = np.random.default_rng(1)
        self.targets = rng.integers(CLASSES, size=ROWS, dtype=np.int32)
        noise = rng.normal(size=(ROWS, *IMAGE))
        self.inputs = (patterns[self.targets][:, None, None] + noise).astype(dtype)
        self.weights = (rng.random(ROWS) < 0.8).astype(dtype)

    def __len__(self) -> int:
        return ROWS

    def batch(self, ids: np.ndarray, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        del rng
        columns = {"inputs": self.inputs, "targets": self.targets, "weights": self.weights}
        return {name: array[ids] for name, array in columns.items()}


class DeviceRows(RowsWorkload):
    """What does not depend on the framework; `dtype` is that of images, weights and parameters."""

    output_module = "head"
    num_train_examples = num_eval_train_examples = ROWS
    num_validation_examples = num_test_examples = 0
    eval_batch_size = ROWS
    max_allowed_runtime_sec = eval_period_time_sec = 10_000
    step_hint = 40

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.dtype = np.dtype(dtype)

    def _rows(self, split: str, data_dir: str) -> NoisyRows:
        del split, data_dir
        return NoisyRows(self.dtype)

    def eval_model(self, batch_size: int, params: Any, state: Any, rng: Any, *rest: Any) -> dict:
        """The train split alone, to save time."""
        del rest
        found = self._eval_model_on_split("eval_train", ROWS, batch_size, params, state, rng, "")
        return {f"train/{name}": value for name, value in found.items()}
