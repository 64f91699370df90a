"""One look per submission, the same in every plot and table.

Colours are those of Okabe and Ito, made for colour-blind readers; line pattern and marker tell
submissions apart in black and white. The three lists have lengths without a common factor, so that
looks repeat only after 140 submissions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
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
    def linestyle(self) -> tuple[int, tuple[float, ...] | None]:
        """As matplotlib has it."""
        return (0, self.dashes or None)

    def dasharray(self, line_width: float) -> str:
        """As SVG has it."""
        return " ".join(f"{length * line_width:g}" for length in self.dashes) or "none"


def looks(names: Iterable[str]) -> dict[str, Look]:
    """By name in alphabetical order: a submission's look does not depend on who wins."""
    return {
        name: Look(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], *MARKERS[i % len(MARKERS)])
        for i, name in enumerate(sorted(names))
    }
