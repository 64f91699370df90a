"""Text in plots: nothing is cut off, whatever names submissions and workloads have."""

from pathlib import Path

import pytest
from log_trees import hits_at, race, realistic_race, trial_dir, write_trial
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmark.report import plots
from benchmark.report.plots import frame
from benchmark.report.style import looks
from benchmark.scoring import Scores, score_tree

LONG = "a_submission_whose_name_is_longer_than_any_plot_has_room_for_even_at_its_very_widest_part"
ODD = ["$x^{$", "_hidden", "<b>&_%", "$a$ and $b$", LONG]


def all_plots(scores: Scores, workload: str) -> list[Figure]:
    look = looks(list(scores.scores), scores.baselines)
    drawn = plots.curves(scores)[workload]
    figures = [
        plots.learning_curves(scores, drawn, workload, "time", look),
        plots.learning_curves(scores, drawn, workload, "step", look),
        plots.performance_profile(scores, look),
        plots.times(scores, workload, look),
        *(plots.speedups(scores, name, look) for name in scores.baselines),
    ]
    found = [figure for figure in figures if figure is not None]
    assert len(found) == len(figures)
    return found


def texts(figure: Figure) -> list[str]:
    labels = figure.axes[0].get_yticklabels()
    return [text.get_text() for text in [*figure.texts, *labels]]


def shown_ticks(axis: Axis) -> list[Text]:
    """The labels of ticks inside the frame; others are not drawn."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """All text is inside the figure, the legend below the axes, and no entry on another."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *figure.texts]
    ticks = shown_ticks(axes.yaxis)
    labels += [*shown_ticks(axes.xaxis), *ticks]
    boxes = [text.get_window_extent() for text in labels if text.get_text()]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    entries = [text.get_window_extent() for text in figure.texts]
    assert max(box.y1 for box in entries) <= axes.xaxis.label.get_window_extent().y0
    for i, one in enumerate(entries):
        assert not any(one.overlaps(other) for other in entries[:i])
    if axes.get_ylabel():
        beside = axes.yaxis.label.get_window_extent()
        assert not any(tick.get_window_extent().overlaps(beside) for tick in ticks)


def test_nothing_is_cut_off(tmp_path: Path):
    for figure in all_plots(score_tree(realistic_race(tmp_path)), "ogbg_small"):
        assert_nothing_is_cut_off(figure)


def test_odd_names_are_drawn_as_they_are(tmp_path: Path):
    race(tmp_path, {name: [2 + i, 3 + i] for i, name in enumerate(ODD)}, "$w_{")
    figures = all_plots(score_tree(tmp_path, baselines=("_hidden",)), "$w_{")
    for figure in figures:
        plots.svg(figure)
        assert_nothing_is_cut_off(figure)
    for name in ODD[:-1]:
        assert any(text.startswith(name) for text in texts(figures[0]))
        assert any(text.startswith(name) for text in texts(figures[2]))
        assert name in texts(figures[3])
    (shortened,) = [text for text in texts(figures[0]) if "…" in text]
    assert LONG.startswith(shortened.split("…")[0])
    assert LONG.endswith(shortened.split("…")[1])
    assert figures[0].axes[0].get_title().startswith("$w_{: ")


@pytest.mark.parametrize("value", [12345.0, 0.000123456, -0.5, 1e-9, 22.2995])
def test_numbers_of_any_size_have_room(tmp_path: Path, value: float):
    meta = {"workload.target_metric_name": "loss", "workload.validation_target_value": value}
    values = [value + abs(value) * part for part in (0.02, 0.01, 0.003, 0.0, -0.001)]
    write_trial(trial_dir(tmp_path, "a"), values, metric="loss", meta=meta, steps_per_eval=10**6)
    scores = score_tree(tmp_path, baselines=())
    for figure in all_plots(scores, "toy"):
        assert_nothing_is_cut_off(figure)


def test_a_name_is_cut_in_the_middle_only_where_it_must():
    assert frame.fitted("short", 100, 9) == "short"
    cut = frame.fitted("x" * 50 + "y" * 50, 100, 9)
    assert frame.text_width(cut, 9) <= 100
    head, tail = cut.split("…")
    assert set(head) == {"x"}
    assert set(tail) == {"y"}


def test_a_large_pool_makes_the_figure_higher_and_not_the_axes_lower(tmp_path: Path):
    for i in range(9):
        write_trial(trial_dir(tmp_path, f"{LONG}_{i}"), hits_at(2))
    (many, *_) = all_plots(score_tree(tmp_path, baselines=()), "toy")
    few = all_plots(score_tree(tmp_path, baselines=(), submissions=[f"{LONG}_0"]), "toy")[0]
    for figure in (many, few):
        figure.set_dpi(100)
    assert many.get_figheight() > few.get_figheight() + 1
    heights = [figure.axes[0].get_window_extent().height for figure in (many, few)]
    assert heights[0] == pytest.approx(heights[1])
