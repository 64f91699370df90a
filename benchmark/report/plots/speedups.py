"""How many times faster than a baseline."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from benchmark.report.plots import frame, rows
from benchmark.report.style import Look
from benchmark.scoring import Scores

# Whole ratios from 1/100 to 100, at three distances.
TICKS = [
    [m * 10.0**e for e in (-2, -1, 0, 1) for m in (1, 1.5, 2, 3, 5, 7)],
    [m * 10.0**e for e in (-2, -1, 0, 1) for m in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)],
    [round(0.5 + 0.1 * i, 1) for i in range(26)],
]
FEWEST_TICKS, MOST_TICKS = 4, 9
LEAST_RANGE = (0.8, 1.25)


@frame.styled()
def speedups(scores: Scores, baseline: str, looks: Mapping[str, Look]) -> Figure | None:
    """One row per other submission: a dot with its interval for all workloads, a hollow one for
    those that both reach, on a logarithmic axis. None if nothing is known."""
    table = scores.speedups.query("baseline == @baseline and submission != @baseline")
    table = table.set_index("submission")
    values = table[["over_both", "over_all", "low", "high"]].to_numpy().ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    figure, axes = rows.empty(list(table.index))
    axes.axvline(1, color=frame.GREY, linewidth=1.2, zorder=1)
    drawn = [looks[str(name)] for name in table.index]
    colours = [look.colour for look in drawn]
    at = np.arange(len(table))
    axes.hlines(at, table["low"], table["high"], colors=colours, linewidth=2)
    axes.scatter(table["over_both"], at, 26, "white", edgecolors=colours, linewidths=1.3, zorder=3)
    for marker in dict.fromkeys(look.marker for look in drawn):
        rows_of = [row for row, look in enumerate(drawn) if look.marker == marker]
        axes.scatter(
            table["over_all"].iloc[rows_of],
            rows_of,
            44,
            [colours[row] for row in rows_of],
            marker=marker,
            zorder=2.5,
        )
    axes.set_xscale("log")
    low, high = min(LEAST_RANGE[0], values.min()), max(LEAST_RANGE[1], values.max())
    margin = (high / low) ** 0.04
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("← slower     times as fast     faster →")
    everything = Line2D([], [], marker="o", color=frame.GREY, linewidth=2, markersize=6)
    both = Line2D(
        [],
        [],
        color=frame.GREY,
        marker="o",
        markersize=5,
        markerfacecolor="white",
        linestyle="none",
    )
    spread = ", 95 % interval" if scores.num_studies > 1 else ""
    entries = [(everything, f"all workloads{spread}"), (both, "workloads both reach")]
    rows.finish(figure, axes, f"Speed-up over {baseline}", entries)
    return figure


def _ticks(low: float, high: float) -> list[float]:
    for candidates in TICKS:
        inside = [tick for tick in candidates if low <= tick <= high]
        if FEWEST_TICKS <= len(inside) <= MOST_TICKS:
            return inside
    return [tick for tick in (0.01, 0.1, 1.0, 10.0, 100.0) if low <= tick <= high]
