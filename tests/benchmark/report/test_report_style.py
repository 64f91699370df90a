"""One look per submission."""

import itertools

import numpy as np
import pytest

from benchmark.report.style import COLOURS, OTHER, looks

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopes": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ @ np.ones(3)


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB, in which distances are about as large as they look."""
    part = XYZ @ rgb.clip(0, 1) / WHITE
    x, y, z = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_a_look_does_not_depend_on_the_order():
    assert looks(["b", "a", "c"]) == looks(["c", "b", "a"])


def test_looks_differ_in_colour_and_in_black_and_white():
    found = list(looks([f"s{i}" for i in range(len(COLOURS))]).values())
    assert len({look.colour for look in found}) == len(COLOURS)
    assert len({(look.dashes, look.marker) for look in found}) == len(COLOURS)


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_colours_differ_for_colour_blind_readers(eyes: str):
    seen = [lab(np.array(SEEN_BY[eyes]) @ linear(colour)) for colour in COLOURS]
    # About 2 can just be told apart side by side.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def test_lines_stand_out_from_white():
    """WCAG's contrast ratio."""
    luminance = [float(XYZ[1] @ linear(colour)) for colour in [*COLOURS, OTHER.colour]]
    assert min(1.05 / (light + 0.05) for light in luminance) > 2


def test_in_a_large_pool_the_baselines_and_the_best_have_a_colour():
    names = [f"s{i:02}" for i in range(40)]
    found = looks(names, ["s39", "absent", "s20"])
    coloured = [name for name in names if found[name] is not OTHER]
    assert coloured == [*names[: len(COLOURS) - 2], "s20", "s39"]
    assert list(found) == names
    assert len({found[name].colour for name in coloured}) == len(COLOURS)


def test_as_many_submissions_as_colours_are_all_coloured():
    assert OTHER not in looks([f"s{i}" for i in range(len(COLOURS))]).values()
    assert list(looks([f"s{i}" for i in range(len(COLOURS) + 1)]).values()).count(OTHER) == 1


def test_line_patterns_for_svg_and_matplotlib():
    solid, dashed = looks(["a", "b"]).values()
    assert solid.dasharray(2) == "none"
    assert solid.linestyle == "solid"
    assert dashed.dasharray(2) == "10 3"
    assert dashed.linestyle == (0, (5.0, 1.5))
