"""One look per submission, the same in every plot and table.

Seven colours are those of Okabe and Ito and two of Paul Tol, all made for colour-blind readers;
line pattern and marker tell submissions apart in black and white. In a pool with more submissions
than colours only some have a colour: a plot with forty of them shows nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

COLOURS = [
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#882255", "#332288"),
]
# Lengths of strokes and gaps, in line widths.
DASHES = [(), (5.0, 1.5), (1.2, 1.2), (6.0, 1.5, 1.2, 1.5)]
# As matplotlib calls them, and as characters.
MARKERS = [("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼")]


@dataclass(frozen=True)
class Look:
    colour: str
    dashes: tuple[float, ...]
    marker: str
    glyph: str

    @property
    def linestyle(self) -> tuple[int, tuple[float, ...]] | Literal["solid"]:
        """As matplotlib has it."""
        return (0, self.dashes) if self.dashes else "solid"

    def dasharray(self, line_width: float) -> str:
        """As SVG has it."""
        return " ".join(f"{length * line_width:g}" for length in self.dashes) or "none"


# Of the submissions without a colour of their own, drawn thin and behind the others.
OTHER = Look("#9a9a9a", (), "o", "")


def looks(best_first: Sequence[str], baselines: Iterable[str] = ()) -> dict[str, Look]:
    """The look of every submission. With more submissions than COLOURS only the baselines and the
    best ones have a colour, the others are OTHER. Colours are given in alphabetical order, so that
    in a small pool a submission's look does not depend on who wins."""
    ranked = dict.fromkeys([*(name for name in baselines if name in best_first), *best_first])
    chosen = sorted(list(ranked)[: len(COLOURS)])
    given = {
        name: Look(COLOURS[i], DASHES[i % len(DASHES)], *MARKERS[i % len(MARKERS)])
        for i, name in enumerate(chosen)
    }
    return {name: given.get(name, OTHER) for name in best_first}
