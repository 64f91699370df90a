"""Learning curves: the validation metric of every study against time or steps."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from benchmark.report.plots import frame
from benchmark.report.plots.studies import Curve
from benchmark.report.style import OTHER, Look
from benchmark.scoring import Scores, Target

# On a logarithmic axis beyond this ratio of largest to smallest value (lower-is-better metrics).
LOG_RATIO = 5.0
MARKERS_PER_CURVE = 6
# The part of a submission's values, the worst ones, that may lie outside the frame; they do if the
# frame would be more than so many times as high with them.
FAR_OFF, SQUEEZED = 0.15, 3.0

Against = Literal["time", "step"]
AXES: dict[Against, str] = {"time": "time", "step": "steps"}


@frame.styled()
def learning_curves(
    scores: Scores,
    curves: Mapping[str, Sequence[Curve]],
    workload: str,
    against: Against,
    looks: Mapping[str, Look],
) -> Figure:
    """Validation metric of every study, with target and budget.

    curves: those of the workload by submission, see `studies.curves`; at least one.
    """
    target = scores.targets[workload]
    longest = max(_x(curve, against).max() for drawn in curves.values() for curve in drawn)
    unit, label = (1.0, "steps") if against == "step" else frame.time_unit(longest)
    figure, axes = frame.empty()
    width = 1.1 if scores.num_studies > 1 else 1.8
    drawn = [name for name in frame.coloured(looks) if name in curves]
    others = [name for name in curves if looks[name] is OTHER]
    _draw_grey(axes, [curve for name in others for curve in curves[name]], against, unit)
    for name in reversed(drawn):  # the best on top
        _draw(axes, curves[name], against, unit, looks[name], width)
    axes.axhline(target.value, zorder=1.5, **frame.TARGET_LINE)

    entries = [(frame.look_handle(looks[name]), name) for name in drawn]
    if others:
        entries.append(frame.others_entry(len(others)))
    entries.append((Line2D([], [], **frame.TARGET_LINE), f"target {target.goal}"))
    axes.set_xlabel(label)
    frame.plain_numbers(axes.xaxis)
    if against == "step":
        axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.set_xlim(0, frame.MARGIN * longest / unit or 1.0)
    if against == "time":
        entries += frame.draw_budget(axes, target.budget, unit)
    axes.set_ylabel(f"validation {target.metric}")
    # The others are the worse ones: what they need would squeeze the race.
    _set_y(axes, [curves[name] for name in drawn or others], target)
    title = f"{workload}: {target.metric} against {AXES[against]}"
    frame.finish(figure, axes, title, entries)
    return figure


def _x(curve: Curve, against: Against) -> np.ndarray:
    return curve.time if against == "time" else curve.step


def _draw(
    axes: Axes, curves: Sequence[Curve], against: Against, unit: float, look: Look, width: float
) -> None:
    markers: list[int] = []
    start = 0
    for curve in curves:
        count = len(curve.value)
        markers += range(start, start + count, max(1, count // MARKERS_PER_CURVE))
        start += count + 1
    axes.plot(
        *_line(curves, against, unit),
        color=look.colour,
        linestyle=look.linestyle,
        linewidth=width,
        marker=look.marker,
        markersize=4,
        markevery=markers,
    )
    axes.plot(
        *_hits(curves, against, unit),
        linestyle="none",
        marker=look.marker,
        markersize=7,
        markerfacecolor=look.colour,
        markeredgecolor="black",
        zorder=3,
    )


def _draw_grey(axes: Axes, curves: Sequence[Curve], against: Against, unit: float) -> None:
    if curves:
        axes.plot(*_line(curves, against, unit), color=OTHER.colour, linewidth=0.6, zorder=1)
        axes.plot(
            *_hits(curves, against, unit),
            linestyle="none",
            marker=OTHER.marker,
            markersize=3.5,
            color=OTHER.colour,
            markeredgewidth=0,
            zorder=1.1,
        )


def _line(curves: Sequence[Curve], against: Against, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Studies one after another with gaps between: one line draws faster than one per study."""
    gap = [np.nan]
    x = [part for curve in curves for part in (_x(curve, against) / unit, gap)]
    y = [part for curve in curves for part in (curve.value, gap)]
    return np.concatenate(x), np.concatenate(y)


def _hits(
    curves: Sequence[Curve], against: Against, unit: float
) -> tuple[list[float], list[float]]:
    """Where studies first meet the target."""
    met = [(curve, curve.hit) for curve in curves if curve.hit is not None]
    x = [_x(curve, against)[hit] / unit for curve, hit in met]
    return x, [curve.value[hit] for curve, hit in met]


def _set_y(axes: Axes, drawn: Sequence[Sequence[Curve]], target: Target) -> None:
    """A range that shows the race: the target, every submission's best and most other values."""
    signed = [[target.sign * curve.value for curve in curves] for curves in drawn]
    lowest = min(values.min() for studies in signed for values in studies)
    # A run's first evaluation comes after its first step, and says nothing of the race.
    later = [np.concatenate([values[1:] for values in studies]) for studies in signed]
    usual = [float(np.quantile(values, FAR_OFF)) for values in later if len(values)]
    bests = [max(values.max() for values in studies) for studies in signed]
    goal = target.sign * target.value
    best = max(goal, *bests)
    worst = min(goal, *bests, np.median(usual) if usual else goal)
    if best - lowest <= SQUEEZED * (best - worst):
        worst = min(goal, lowest)
    low, high = sorted([target.sign * float(worst), target.sign * float(best)])
    if target.sign < 0 and low > 0 and high / low > LOG_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        margin = (high / low) ** 0.05
        axes.set_ylim(low / margin, high * margin)
    else:
        frame.plain_numbers(axes.yaxis)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
