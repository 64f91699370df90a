"""Plots with one row per submission, the best on top."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.plots import frame

# Inches.
ROW, NARROW_ROW = 0.3, 0.19
GAP = 0.12
MANY_ROWS = 15
NAME, SMALL_NAME = 9, 7.5  # points
WIDEST_NAME = 150  # points


def empty(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Row i of `names` is at y = i."""
    figure, axes = frame.empty()
    size = _size(len(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    shown = [frame.fitted(name, WIDEST_NAME, size) for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=size)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    return figure, axes


def finish(
    figure: Figure,
    axes: Axes,
    title: str,
    entries: Sequence[frame.Entry],
    *,
    beside: Sequence[str] = (),
) -> None:
    """As `frame.finish`. beside: a text per row to the right of the axes."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    size = _size(len(names))
    right_of = axes.get_yaxis_transform()
    for row, text in enumerate(beside):
        axes.text(1.02, row, text, transform=right_of, va="center", fontsize=size)
    frame.finish(
        figure,
        axes,
        title,
        entries,
        height=(NARROW_ROW if len(names) > MANY_ROWS else ROW) * len(names) + 0.1,
        left=_inches(names, size) + GAP,
        right=_inches(beside, size) + GAP if beside else 2 * GAP,
    )


def _size(rows: int) -> float:
    return SMALL_NAME if rows > MANY_ROWS else NAME


def _inches(texts: Sequence[str], size: float) -> float:
    return max(frame.text_width(text, size) for text in texts) / frame.POINTS
