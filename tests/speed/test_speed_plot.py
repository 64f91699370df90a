"""The bar chart: bars are amortised times, lines are floors, panels are models."""

from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from matplotlib.figure import Figure

from speed import plot

ROWS = [
    ("pytorch", "torch_adamw_fused", "nadamw", "ogbg", 1, 1.0, 0.5),
    ("pytorch", "soap", "soap", "ogbg", 1, 4.0, 2.0),
    ("pytorch", "heavyball_soap", "soap", "ogbg", 1, 6.0, 2.0),
    ("pytorch", "soap", "soap", "wmt", 1, 40.0, 20.0),
    ("pytorch", "soap", "soap", "wmt", 2, 30.0, 15.0),
]
COLUMNS = "framework contender family model threads amortised_ms amortised_floor_ms"
TABLE = pd.DataFrame(ROWS, columns=COLUMNS.split())


def texts(path: Path) -> list[str]:
    """Matplotlib leaves the text beside its outlines as comments."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser).getroot()
    return [(each.text or "").strip() for each in root.iter() if each.tag is ElementTree.Comment]


def test_every_contender_model_and_kind_is_named(tmp_path: Path):
    plot.write(TABLE, tmp_path / "steps.svg")
    found = texts(tmp_path / "steps.svg")
    wanted = ("ogbg", "wmt", "torch_adamw_fused", "soap", "heavyball_soap", "floor", "peer")
    assert set(wanted) <= set(found)
    assert {"soap, threads: 1", "soap, threads: 2"} <= set(found)


def test_bars_and_floors():
    axes = Figure().subplots()
    plot._draw(axes, TABLE[TABLE["model"] == "ogbg"])
    bars = [bar for bars in axes.containers for bar in bars]
    by_place = sorted(bars, key=lambda bar: bar.get_y())
    assert [bar.get_width() for bar in by_place] == [1.0, 4.0, 6.0]
    (floors,) = (each for each in axes.collections if each.get_label() == "floor")
    assert [segment[0][0] for segment in floors.get_segments()] == [0.5, 2.0, 2.0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "torch_adamw_fused",
        "soap",
        "heavyball_soap",
    ]
    assert axes.yaxis_inverted()  # the first row is on top


@pytest.mark.parametrize(
    ("contender", "family", "kind"),
    [
        ("torch_adamw_fused", "nadamw", "the framework's own"),
        ("soap", "soap", "this project"),
        ("heavyball_soap", "soap", "peer"),
    ],
)
def test_kinds_look_different_in_grey(contender: str, family: str, kind: str):
    assert plot.kind("pytorch", contender, family) == kind
    shades = {style["color"] for style in plot.STYLES.values()}
    assert len(shades) == len(plot.STYLES)
    assert all(float(shade) > 0.5 for shade in shades)  # the black floor is seen on all of them


def test_png(tmp_path: Path):
    plot.write(TABLE, tmp_path / "steps.png")
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
