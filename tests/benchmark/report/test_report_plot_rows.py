"""Plots with a row per submission: times of every study, speed-ups."""

from pathlib import Path

import numpy as np
import pytest
from log_trees import META, hits_at, race, trial_dir, write_trial
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report import plots
from benchmark.report.style import COLOURS, OTHER, looks
from benchmark.scoring import Scores, score_tree


def rows_of(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def times(scores: Scores) -> Figure:
    figure = plots.times(scores, "toy", looks(list(scores.scores)))
    assert figure is not None
    return figure


def dots(axes: Axes, colour: str) -> list[float]:
    (line,) = [
        line
        for line in axes.lines
        if line.get_color() == colour and line.get_markeredgecolor() == "white"
    ]
    return sorted(line.get_xdata())


def test_every_study_that_reached_is_a_dot_and_the_median_a_bar(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [2, 3, 5], "b": [4, 99, 99]}), baselines=())
    (axes,) = times(scores).axes
    assert rows_of(axes) == ["a", "b"]
    assert dots(axes, COLOURS[0]) == [20.0, 30.0, 50.0]
    assert dots(axes, COLOURS[1]) == [40.0]
    (bars,) = [line for line in axes.lines if line.get_marker() == "|"]
    assert list(bars.get_xdata()) == [30.0, np.inf]
    assert list(bars.get_ydata()) == [0, 1]
    assert [text.get_text() for text in axes.texts] == ["3 of 3", "1 of 3"]


def test_dots_lie_in_their_row(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [2] * 5, "b": [3] * 5}), baselines=())
    (axes,) = times(scores).axes
    for row, colour in enumerate(COLOURS[:2]):
        (line,) = [line for line in axes.lines if line.get_color() == colour]
        heights = np.asarray(line.get_ydata(), float)
        assert len(set(heights)) == 5
        assert np.abs(heights - row).max() < 0.5


def test_the_budget_is_a_line_in_the_times(tmp_path: Path):
    figure = times(score_tree(race(tmp_path, {"a": [5, 5]}), baselines=()))
    assert [list(line.get_xdata()) for line in figure.axes[0].lines][-1] == [60.0, 60.0]
    assert [text.get_text() for text in figure.texts] == ["one study", "median", "budget 60 s"]


def test_one_study_has_no_median_and_lies_in_the_middle(tmp_path: Path):
    figure = times(score_tree(race(tmp_path, {"a": [5], "b": [3]}), baselines=()))
    (axes,) = figure.axes
    assert [text.get_text() for text in figure.texts] == ["one study", "budget 60 s"]
    assert not any(line.get_marker() == "|" for line in axes.lines)
    heights = [list(line.get_ydata()) for line in axes.lines[:2]]
    assert sorted(heights) == [[0.0], [1.0]]


def test_no_dot_no_plot(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [99], "b": [99]}), baselines=())
    assert plots.times(scores, "toy", looks(list(scores.scores))) is None


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """Thirteen submissions, s00 the fastest; the baseline is the slowest one."""
    root = tmp_path_factory.mktemp("crowd")
    race(root, {f"s{i:02}": [2 + i // 2, 2 + i // 2] for i in range(13)})
    return score_tree(root, baselines=("s12",))


def test_submissions_without_a_colour_share_a_row(crowd: Scores):
    figure = plots.times(crowd, "toy", looks(list(crowd.scores), crowd.baselines))
    assert figure is not None
    (axes,) = figure.axes
    others = 13 - len(COLOURS)
    assert rows_of(axes)[-2:] == ["s12", f"{others} others"]
    assert axes.texts[-1].get_text() == f"{2 * others} of {2 * others}"
    assert len(dots(axes, OTHER.colour)) == 2 * others


def test_curves_of_a_crowd_are_all_drawn_and_the_legend_stays_short(crowd: Scores):
    look = looks(list(crowd.scores), crowd.baselines)
    drawn = plots.curves(crowd)["toy"]
    figure = plots.learning_curves(crowd, drawn, "toy", "time", look)
    (grey,) = [
        line
        for line in figure.axes[0].lines
        if line.get_color() == OTHER.colour and line.get_linestyle() == "-"
    ]
    others = 13 - len(COLOURS)
    assert np.isfinite(np.asarray(grey.get_xdata(), float)).sum() == 8 * 2 * others
    legend = [text.get_text() for text in figure.texts]
    assert legend == [
        *(f"s{i:02}" for i in range(len(COLOURS) - 1)),
        "s12",
        f"{others} others",
        "target ≥ 0.7",
        "budget 60 s",
    ]


def test_the_profile_of_a_crowd(crowd: Scores):
    figure = plots.performance_profile(crowd, looks(list(crowd.scores), crowd.baselines))
    assert len(figure.axes[0].lines) == 13
    assert figure.texts[-1].get_text() == f"{13 - len(COLOURS)} others"


def test_speed_ups_are_those_of_the_scores(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"base": [4, 4, 6], "a": [2, 2, 3], "b": [5, 5, 99]}))
    scores = score_tree(tmp_path, baselines=("base",))
    figure = plots.speedups(scores, "base", looks(list(scores.scores)))
    assert figure is not None
    (axes,) = figure.axes
    assert rows_of(axes) == ["a", "b"]
    table = scores.speedups.set_index("submission").loc[["a", "b"]]
    intervals, both, *all_workloads = axes.collections
    ends = [segment[:, 0].tolist() for segment in intervals.get_segments()]
    assert ends == table[["low", "high"]].to_numpy().tolist()
    assert both.get_offsets()[:, 0].tolist() == table["over_both"].tolist() == [2.0, 0.8]
    marked = np.concatenate([dots.get_offsets() for dots in all_workloads])
    assert marked[np.argsort(marked[:, 1]), 0].tolist() == table["over_all"].tolist()
    low, high = axes.get_xlim()
    assert low < min(table["low"]) < 1 < max(table["high"]) < high
    ticks = axes.get_xticks()
    assert sum(low <= tick <= high for tick in ticks) >= 2


def test_a_baseline_alone_has_no_speed_ups_to_draw(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"base": [4]}), baselines=("base",))
    assert plots.speedups(scores, "base", looks(["base"])) is None


def test_unknown_speed_ups_are_not_drawn(tmp_path: Path):
    """Nobody reached, and no budget is known."""
    meta = {key: META[key] for key in META if "max_allowed" not in key}
    for name in ("base", "a"):
        write_trial(trial_dir(tmp_path, name), hits_at(99), meta=meta)
    scores = score_tree(tmp_path, baselines=("base",))
    assert plots.speedups(scores, "base", looks(list(scores.scores))) is None
