"""A bar chart of step times against their floors."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speed.contenders import REFERENCES

# Fill and hatching tell the kinds apart in grey too.
STYLES: dict[str, dict[str, Any]] = {
    "this project": {"color": "0.6"},
    "peer": {"color": "0.88", "hatch": "///", "edgecolor": "0.5"},
    "the framework's own": {"color": "1.0", "edgecolor": "0.4"},
}
FLOOR: dict[str, Any] = {"color": "black", "linewidth": 2.5, "label": "floor"}
ROW_INCHES, TITLE_INCHES, WIDTH_INCHES = 0.24, 0.9, 8.0


def kind(framework: str, contender: str, family: str) -> str:
    """The one of STYLES that a contender belongs to."""
    if contender in REFERENCES[framework]:
        return "the framework's own"
    return "this project" if contender == family else "peer"


def write(table: pd.DataFrame, path: Path) -> None:
    """One panel per model: amortised milliseconds of every contender, and a line at its floor.

    Args:
        table: of `speed.table`.
        path: ends in .png or .svg.
    """
    groups = [(model, table.query("model == @model")) for model in table["model"].unique()]
    heights = [ROW_INCHES * len(rows) + TITLE_INCHES for _, rows in groups]
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
    ratios = {"height_ratios": heights}
    panels = figure.subplots(len(groups), squeeze=False, gridspec_kw=ratios).ravel()
    for axes, (model, rows) in zip(panels, groups, strict=True):
        _draw(axes, rows)
        axes.set_title(model, loc="left")
        axes.set_xlabel("amortised step, ms")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    columns = (rows[name] for name in ("framework", "contender", "family"))
    kinds = np.array(list(map(kind, *columns)))
    places = np.arange(len(rows))
    times = rows["amortised_ms"].to_numpy()
    for name, style in STYLES.items():
        mine = kinds == name
        axes.barh(places[mine], times[mine], label=name, linewidth=0.8, **style)
    floors = rows["amortised_floor_ms"].to_numpy()
    axes.vlines(floors, places - 0.4, places + 0.4, **FLOOR)
    axes.set_yticks(places, _labels(rows))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def _labels(rows: pd.DataFrame) -> list[str]:
    """Contenders, with the number of threads where there are several."""
    names, threads = rows["contender"].tolist(), rows["threads"].tolist()
    if len(set(threads)) == 1:
        return names
    return [f"{name}, threads: {number}" for name, number in zip(names, threads, strict=True)]
