"""What the small ImageNet workloads share, without their framework."""

from functools import lru_cache
from pathlib import Path

from ...base.rows import RowsWorkload
from . import dataset
from .rows import ImageRows
from .source import DIGITS, IMAGE_SIZE, NUM_CLASSES


class BaseImagesWorkload(RowsWorkload):
    """AlgoPerf's ImageNet workloads on 28x28 digits: 10 classes, top-1 accuracy, mean loss.

    A batch has `inputs` (B, 28, 28, 1) float32 in both frameworks, `targets` (B,) and
    `weights` (B,) float32. Different from AlgoPerf on purpose: PyTorch's images have their
    channel last too, so that both frameworks have the same batches; a split is evaluated whole
    whatever the batch size.

    Attributes:
      max_shift: of training images, in pixels, see `ImageRows`. As in AlgoPerf, the two workloads
        differ in how much they change the images.
    """

    target_metric_name = "accuracy"
    output_module = "head"
    num_classes = NUM_CLASSES
    image_shape = (IMAGE_SIZE, IMAGE_SIZE, 1)
    max_shift: int

    @property
    def num_train_examples(self) -> int:
        return DIGITS.counts["train"]

    @property
    def num_eval_train_examples(self) -> int:
        return DIGITS.counts["train"]

    @property
    def num_validation_examples(self) -> int:
        return DIGITS.counts["validation"]

    @property
    def num_test_examples(self) -> int:
        return DIGITS.counts["test"]

    @property
    def eval_batch_size(self) -> int:
        return 200

    @property
    def train_mean(self) -> tuple[float, ...]:  # type: ignore[override]
        """Of the training pixels, per channel, in units of 0 to 255, as AlgoPerf's ImageNet."""
        return (dataset.TRAIN_MEAN,)

    @property
    def train_stddev(self) -> tuple[float, ...]:  # type: ignore[override]
        """See `train_mean`."""
        return (dataset.TRAIN_STDDEV,)

    def _rows(self, split: str, data_dir: str) -> ImageRows:
        split = "train" if split == "eval_train" else split
        return _rows(split, Path(data_dir).absolute(), self.max_shift)


@lru_cache(maxsize=8)
def _rows(split: str, data_dir: Path, max_shift: int) -> ImageRows:
    return ImageRows(*dataset.load(data_dir).split(split), max_shift)
