"""What the plots have in common: their size, their text, their legends.

Axes are placed by hand: matplotlib's layout engines take as long as drawing, and with many legend
entries they squeeze the axes to nothing instead of making the figure higher.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from benchmark.report import format as fmt
from benchmark.report.style import OTHER, Look

# Inches. Small, so that on a phone, where a plot is as wide as the screen, its text stays legible.
WIDTH = 5.4
LEFT, RIGHT, ABOVE, BELOW = 0.85, 0.15, 0.36, 0.56
Y_LABEL, X_LABEL = 0.68, 0.29
LEGEND_ROW, LEGEND_EDGE = 0.19, 0.08
# Points.
TITLE, TEXT, LEGEND = 11, 9.5, 9
LEGEND_LINE, LEGEND_TEXT, LEGEND_GAP = 28, 34, 16
POINTS = 72

GREY = "#555555"
TARGET_LINE = {"color": GREY, "linestyle": (0, (4, 2)), "linewidth": 1.2}
BUDGET_LINE = {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.6}
# A budget further to the right than this multiple of the longest run would squeeze the rest.
BUDGET_IN_VIEW = 1.6
MARGIN = 1.03

# Of a legend: handle and label.
Entry = tuple[Line2D, str]

# A decorator. Names are never mathematics, whatever signs are in them.
styled = partial(rc_context, {"text.parse_math": False, "font.size": TEXT})


@cache
def text_width(text: str, size: float) -> float:
    """Points."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)[0]


def fitted(text: str, points: float, size: float) -> str:
    """Cut in the middle where it is wider; both ends of a name tell versions apart."""
    kept = len(text)
    shown = text
    while kept > 2 and text_width(shown, size) > points:
        kept -= 1
        tail = kept // 3
        shown = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
    return shown


def empty() -> tuple[Figure, Axes]:
    figure = Figure()
    axes = figure.subplots()
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def finish(
    figure: Figure,
    axes: Axes,
    title: str,
    entries: Sequence[Entry],
    *,
    height: float = 3.0,
    left: float = LEFT,
    right: float = RIGHT,
) -> None:
    """Places the axes, `height` inches high, and below them, where it covers no curve, a legend of
    the entries (handle, label). The figure is as high as that takes."""
    legend = _legend(figure, entries)
    total = ABOVE + height + BELOW + legend
    width = WIDTH - left - right
    figure.set_size_inches(WIDTH, total)
    bottom = (legend + BELOW) / total
    axes.set_position((left / WIDTH, bottom, width / WIDTH, height / total))
    axes.set_title(fitted(title, POINTS * (WIDTH - 0.2), TITLE), fontsize=TITLE, y=1.0)
    axes.title.set_x((WIDTH / 2 - left) / width)
    # Said here, because finding places that touch no tick label takes matplotlib long.
    axes.xaxis.set_label_coords(0.5, -X_LABEL / height)
    axes.yaxis.set_label_coords(-Y_LABEL / width, 0.5)


def _legend(figure: Figure, entries: Sequence[Entry]) -> float:
    """Draws it at the bottom, in one column or two; its height in inches.

    By hand: matplotlib's own takes a good part of the time that a plot takes.
    """
    room = POINTS * (WIDTH - 2 * LEGEND_EDGE) - LEGEND_TEXT
    texts = [fitted(label, room, LEGEND) for _, label in entries]
    widest = max(text_width(text, LEGEND) for text in texts)
    columns = 2 if 2 * widest + LEGEND_TEXT + LEGEND_GAP <= room else 1
    step = (widest + LEGEND_TEXT + LEGEND_GAP) / POINTS
    start = (WIDTH - columns * step + LEGEND_GAP / POINTS) / 2
    count = math.ceil(len(texts) / columns)
    for i, ((handle, _), text) in enumerate(zip(entries, texts, strict=True)):
        x = start + step * (i // count)
        y = LEGEND_EDGE + LEGEND_ROW * (count - 0.5 - i % count)
        end = x + LEGEND_LINE / POINTS
        handle.set_data([x, (x + end) / 2, end], [y, y, y])
        handle.set(markevery=[1], transform=figure.dpi_scale_trans)
        figure.add_artist(handle)
        at = x + LEGEND_TEXT / POINTS
        figure.text(at, y, text, transform=figure.dpi_scale_trans, va="center", fontsize=LEGEND)
    return LEGEND_ROW * count + LEGEND_EDGE


def look_handle(look: Look, width: float = 1.5) -> Line2D:
    """A line of a legend."""
    return Line2D([], [], color=look.colour, linestyle=look.linestyle, linewidth=width,
                  marker=look.marker if look is not OTHER else "", markersize=5)  # fmt: skip


def others_entry(count: int) -> Entry:
    """The legend's entry for the submissions without a colour of their own."""
    return look_handle(OTHER, 1.0), fmt.counted(count, "other")


def coloured(looks: Mapping[str, Look]) -> list[str]:
    """The submissions with a colour of their own, in the order of `looks`, best first."""
    return [name for name, look in looks.items() if look is not OTHER]


def plain_numbers(axis: Axis) -> None:
    """All ticks with the same number of decimals, none as an offset; very small and very large
    ones as parts of a power of ten that stands above the axis."""
    axis.set_major_locator(MaxNLocator(6))
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_powerlimits((-3, 6))
    axis.set_major_formatter(formatter)


def time_unit(longest: float) -> tuple[float, str]:
    """Seconds per unit of an axis that reaches to `longest`, and its label."""
    name, unit = ("s", 1.0) if longest < 600 else ("min", 60.0) if longest < 7200 else ("h", 3600.0)
    return unit, f"submission time ({name})"


def draw_budget(axes: Axes, budget: float, unit: float) -> list[Entry]:
    """A vertical line, unless it is so far away that the rest would be squeezed; its entry for the
    legend. none if the budget (seconds) is not known."""
    if not math.isfinite(budget):
        return []
    end = axes.get_xlim()[1]
    text = f"budget {fmt.duration(budget)}"
    if budget / unit <= BUDGET_IN_VIEW * end:
        axes.axvline(budget / unit, zorder=1.5, **BUDGET_LINE)
        axes.set_xlim(0, max(end, MARGIN * budget / unit))
    else:
        text += " (right of the plot)"
    return [(Line2D([], [], **BUDGET_LINE), text)]
