"""The C4 workloads' amounts of data, by name: the same in both frameworks and for preparation.

Lengths and batches are GaLore's (arXiv 2403.03507): rows of 256 tokens, 512 rows a step, and as
many different rows as the published number of steps takes. The evaluation splits are this
project's: 40,960 rows are about the 10 million tokens that GaLore evaluates on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .config import MODELS, ModelConfig

TRAIN_BATCH_SIZE = 512  # of the published runs; a submission may choose another


@dataclass(frozen=True)
class Size:
    """One workload.

    Attributes:
      model: sizes of the model.
      steps: of the published run, from which `train_rows` and the step hint follow.
      eval_batch_size: rows of a global batch in evaluation.
      context_length: tokens per row.
      eval_train_rows: the first rows of the training split, evaluated as they are.
      validation_rows, test_rows: rows of these splits.
    """

    model: ModelConfig
    steps: int
    eval_batch_size: int = 512
    context_length: int = 256
    eval_train_rows: int = 10_240
    validation_rows: int = 40_960
    test_rows: int = 40_960

    @property
    def train_rows(self) -> int:
        return self.steps * TRAIN_BATCH_SIZE

    @property
    def rows(self) -> Mapping[str, int]:
        """How many rows a prepared split must have."""
        return {
            "train": self.train_rows,
            "validation": self.validation_rows,
            "test": self.test_rows,
        }


SIZES: dict[str, Size] = {
    "c4_60m": Size(MODELS["60M"], steps=10_000),
    "c4": Size(MODELS["130M"], steps=20_000),
    "c4_350m": Size(MODELS["350M"], steps=60_000, eval_batch_size=256),
}
