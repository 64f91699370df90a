"""The plots of a report, as matplotlib figures without any window system behind them."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from benchmark.report import format as fmt
from benchmark.report.style import Look
from benchmark.scoring import Scores, Target

# Inches. Small, so that on a phone, where a plot is as wide as the screen, its text stays legible.
SIZE = (5.4, 4.3)
GREY = "#555555"
# A budget further to the right than this multiple of the longest run would squeeze the curves.
BUDGET_IN_VIEW = 1.6
# On a logarithmic axis beyond this ratio of largest to smallest value (lower-is-better metrics).
LOG_RATIO = 5.0
MARKERS_PER_CURVE = 6
MARGIN = 1.03
# Labels of up to so many characters find room beside each other in a legend.
TWO_COLUMNS = 34
# The part of the values, the worst ones, that may lie outside the frame; they do if the frame would
# be more than so many times as high with them.
FAR_OFF, SQUEEZED = 0.15, 3.0

Against = Literal["time", "step"]
AXES: dict[Against, str] = {"time": "time", "step": "steps"}


def learning_curves(
    scores: Scores, workload: str, against: Against, looks: Mapping[str, Look]
) -> Figure:
    """Validation metric of every study (of the trial that counts), with target and budget."""
    target = scores.targets[workload]
    # Finite values are those with a margin to the target.
    curves = scores.curves.query("workload == @workload and counts").dropna(subset="margin")
    unit, label = _x_unit(curves, against)

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    width = 1.1 if scores.num_studies > 1 else 1.8
    for name in scores.scores:
        look, label_once = looks[name], name
        for _, study in curves.query("submission == @name").groupby("study"):
            axes.plot(
                study[against] / unit,
                study["value"],
                color=look.colour,
                linestyle=look.linestyle,
                linewidth=width,
                marker=look.marker,
                markersize=4,
                markevery=max(1, len(study) // MARKERS_PER_CURVE),
                label=label_once,
            )
            label_once = None
            met = study.query("margin >= 0").head(1)
            axes.plot(
                met[against] / unit,
                met["value"],
                linestyle="none",
                marker=look.marker,
                markersize=8,
                markerfacecolor=look.colour,
                markeredgecolor="black",
                zorder=3,
            )
    axes.axhline(target.value, color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1)
    axes.plot([], [], color=GREY, linestyle=(0, (4, 2)), label=f"target {target.goal}")
    _set_x(axes, max([*curves[against], 0.0]) / unit, label)
    if against == "time" and math.isfinite(target.budget):
        _draw_budget(axes, target.budget, unit)
    axes.set_ylabel(f"validation {target.metric}")
    if len(curves):
        _set_y(axes, curves, target)
    axes.set_title(f"{workload}: {target.metric} against {AXES[against]}", fontsize=11)
    _finish(figure, axes)
    return figure


def performance_profile(scores: Scores, looks: Mapping[str, Look]) -> Figure:
    """rho(tau): the fraction of workloads on which a submission is within tau of the fastest."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    profile = scores.profile
    count = len(scores.scores)
    for i, name in enumerate(scores.scores):
        look = looks[name]
        jumps = profile[name].diff().fillna(profile[name]) > 0
        axes.plot(
            profile.index,
            profile[name],
            drawstyle="steps-post",
            color=look.colour,
            linestyle=look.linestyle,
            # Where lines coincide the better ones, drawn first and wider, still show.
            linewidth=1.5 + 3.0 * (count - 1 - i) / max(1, count - 1),
            marker=look.marker,
            markersize=7,
            markevery=[position for position, jump in enumerate(jumps) if jump],
            label=f"{name} ({fmt.score(scores.scores[name])})",
        )
    axes.set_xlim(profile.index[0] - 0.04, profile.index[-1])
    axes.set_ylim(-0.04, 1.06)
    axes.set_xlabel("τ: time to target / that of the fastest submission")
    axes.set_ylabel("fraction of workloads reached within τ")
    axes.set_title("Performance profile (benchmark score)", fontsize=11)
    _finish(figure, axes)
    return figure


def _x_unit(curves: pd.DataFrame, against: Against) -> tuple[float, str]:
    """Seconds or steps per unit of the axis, and its label."""
    if against == "step":
        return 1.0, "steps"
    longest = max([*curves["time"], 0.0])
    name, unit = ("s", 1.0) if longest < 600 else ("min", 60.0) if longest < 7200 else ("h", 3600.0)
    return unit, f"submission time ({name})"


def _set_x(axes: Axes, end: float, label: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    if label == "steps":
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0, MARGIN * end or 1.0)


def _draw_budget(axes: Axes, budget: float, unit: float) -> None:
    """A vertical line, unless it is so far away that the curves would be squeezed."""
    end = axes.get_xlim()[1]
    line = {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.6}
    text = f"budget {fmt.duration(budget)}"
    if budget / unit <= BUDGET_IN_VIEW * end:
        axes.axvline(budget / unit, zorder=1, **line)
        axes.set_xlim(0, max(end, MARGIN * budget / unit))
    else:
        text += " (right of the plot)"
    axes.plot([], [], label=text, **line)


def _set_y(axes: Axes, curves: pd.DataFrame, target: Target) -> None:
    """A range that shows the race: the target, every submission's best and most other values."""
    signed = target.sign * curves["value"].to_numpy()
    # A run's first evaluation comes after its first step, and says nothing of the race.
    later = signed[curves.duplicated(["submission", "study"])]
    bests = [signed[curves["submission"] == name].max() for name in set(curves["submission"])]
    goal = target.sign * target.value
    best = max(goal, *bests)
    worst = min(goal, *bests, np.quantile(later, FAR_OFF) if len(later) else goal)
    if best - signed.min() <= SQUEEZED * (best - worst):
        worst = min(goal, signed.min())
    low, high = sorted([target.sign * float(worst), target.sign * float(best)])
    if target.sign < 0 and low > 0 and high / low > LOG_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        margin = (high / low) ** 0.05
        axes.set_ylim(low / margin, high * margin)
    else:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _finish(figure: Figure, axes: Axes) -> None:
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    longest = max(len(text) for text in axes.get_legend_handles_labels()[1])
    # Below the axes: it never covers a curve.
    figure.legend(
        loc="outside lower center",
        ncols=2 if longest <= TWO_COLUMNS else 1,
        fontsize=9,
        frameon=False,
        handlelength=3.2,
    )
