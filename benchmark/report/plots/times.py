"""The time to target of every study on one workload."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.report.plots import frame, rows
from benchmark.report.style import OTHER, Look
from benchmark.scoring import Scores

# Studies of a row stand a little above each other, so that equal times both show.
SPREAD = 0.28
# A marker as high as most of a row.
BAR = {
    "linestyle": "none",
    "color": "black",
    "marker": "|",
    "markersize": 0.9 * rows.ROW * frame.POINTS,
    "markeredgewidth": 2.2,
}


@frame.styled()
def times(scores: Scores, workload: str, looks: Mapping[str, Look]) -> Figure | None:
    """A dot per study that reached the target, a bar at the median, and beside the axes how many
    reached it. The submissions without a colour share a row. None if there is no dot."""
    entries = {
        row["submission"]: row
        for row in scores.table.to_dict("records")
        if row["workload"] == workload
    }
    reached = scores.studies.query("workload == @workload and time < inf")
    if not len(reached):
        return None
    longest = float(reached["time"].to_numpy().max())
    unit, label = frame.time_unit(longest)
    coloured = frame.coloured(looks)
    others = [name for name in looks if looks[name] is OTHER]
    groups = [[name] for name in coloured] + ([others] if others else [])
    names = [*coloured, frame.others_entry(len(others))[1]] if others else coloured
    figure, axes = rows.empty(names)
    axes.set_xlim(0, frame.MARGIN * longest / unit)
    beside = []
    for row, group in enumerate(groups):
        _draw(axes, row, reached.query("submission in @group"), unit, looks[group[0]])
        count, required = (
            sum(entries[name][column] for name in group) for column in ("reached", "studies")
        )
        beside.append(f"{count} of {required}")
    dot = Line2D([], [], linestyle="none", marker="o", color=frame.GREY, markersize=5)
    legend = [(dot, "one study")]
    if scores.num_studies > 1:
        medians = [entries[name]["time_to_target"] / unit for name in coloured]
        axes.plot(medians, range(len(coloured)), zorder=1.8, **BAR)
        legend.append((Line2D([], [], **{**BAR, "markersize": 9}), "median"))
    axes.set_xlabel(label)
    frame.plain_numbers(axes.xaxis)
    legend += frame.draw_budget(axes, scores.targets[workload].budget, unit)
    rows.finish(figure, axes, f"{workload}: time to target", legend, beside=beside)
    return figure


def _draw(axes: Axes, row: int, reached: pd.DataFrame, unit: float, look: Look) -> None:
    studies = reached["study"].to_numpy()
    last = max([0, *studies])
    axes.plot(
        reached["time"].to_numpy() / unit,
        row + 2 * SPREAD * (studies / last - 0.5 if last else studies),
        linestyle="none",
        marker=look.marker,
        markersize=6.5,
        color=look.colour,
        markeredgecolor="white",
        markeredgewidth=0.5,
        alpha=0.6 if look is OTHER else None,
    )
