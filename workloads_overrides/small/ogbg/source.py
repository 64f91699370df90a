"""How much must come out of the file that `ogbg_small` is made from, and the folder it goes to."""

from dataclasses import dataclass

from ..prepared import Prepared
from ..sources import CHEMICALS as CHEMICALS_SOURCE
from ..wheel import Wheel

PROPERTIES: tuple[str, ...] = ("Tm", "Tb", "logP", "rho", "RI")
ARRAYS = "arrays.npz"
FORMAT_VERSION = 2  # raise it when the choice of molecules, features, labels or arrays changes


@dataclass(frozen=True)
class Source:
    """A pinned wheel and how many molecules each split has when it is prepared."""

    wheel: Wheel
    num_train: int
    num_validation: int
    num_test: int

    @property
    def counts(self) -> dict[str, int]:
        return {
            "train": self.num_train,
            "validation": self.num_validation,
            "test": self.num_test,
        }

    @property
    def prepared(self) -> Prepared:
        """The folder with `arrays.npz`: graphs and labels, see `dataset.Molecules`."""
        facts = {
            "format_version": FORMAT_VERSION,
            "source": self.wheel.requirement,
            "source_sha256": self.wheel.sha256,
            "counts": self.counts,
        }
        return Prepared("ogbg_small", "ogbg_small", facts, (ARRAYS,))


CHEMICALS = Source(
    wheel=CHEMICALS_SOURCE.wheel, num_train=16001, num_validation=2051, num_test=2008
)
