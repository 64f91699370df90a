"""What the plots show, read off the matplotlib figures."""

from pathlib import Path

import numpy as np
import pytest
from log_trees import BUDGET, META, TARGET, hits_at, race, trial_dir, write_trial
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report import plots
from benchmark.report.style import COLOURS, looks
from benchmark.scoring import Scores, score_tree


def labels(figure: Figure) -> list[str]:
    """Of the legend."""
    return [text.get_text() for text in figure.texts]


def curves(scores: Scores, workload: str = "toy", against: plots.Against = "time") -> Figure:
    drawn = plots.curves(scores)[workload]
    return plots.learning_curves(scores, drawn, workload, against, looks(list(scores.scores)))


def studies(figure: Figure, colour: str) -> list[list[tuple[float, float]]]:
    """The points of every curve in a colour."""
    (axes,) = figure.axes
    found: list[list[tuple[float, float]]] = []
    for line in axes.lines:
        x, y = (np.asarray(data, float) for data in line.get_data())
        if line.get_color() == colour and line.get_linestyle() != "None":
            gaps = np.flatnonzero(np.isnan(x))
            parts = zip(np.split(x, gaps), np.split(y, gaps), strict=True)
            kept = [(a[np.isfinite(a)], b[np.isfinite(a)]) for a, b in parts]
            found += [list(zip(*map(np.ndarray.tolist, pair), strict=True)) for pair in kept]
    return [points for points in found if points]


def hits(figure: Figure) -> list[tuple[float, float]]:
    """Where studies first meet the target, best submission last."""
    (axes,) = figure.axes
    marked = [line for line in axes.lines if line.get_markeredgecolor() == "black"]
    return [point for line in marked for point in zip(*line.get_data(), strict=True)]


def points(values: list[float], period: float = 10.0) -> list[tuple[float, float]]:
    return [(period * i, value) for i, value in enumerate(values, 1)]


def test_every_study_is_drawn_in_its_submissions_look(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [2, 3], "b": [4, 99]}), baselines=())
    figure = curves(scores)
    look = looks(list(scores.scores))
    assert studies(figure, look["a"].colour) == [points(hits_at(2)), points(hits_at(3))]
    assert studies(figure, look["b"].colour) == [points(hits_at(4)), points(hits_at(99))]
    assert labels(figure) == ["a", "b", f"target ≥ {TARGET}", "budget 60 s"]
    assert hits(figure) == [(40.0, TARGET), (20.0, TARGET), (30.0, TARGET)]


def test_only_the_trial_that_counts_is_drawn(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(5))
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(2))
    figure = curves(score_tree(tmp_path, baselines=()), against="step")
    assert studies(figure, COLOURS[0]) == [points(hits_at(2), 100.0)]
    assert hits(figure) == [(200.0, TARGET)]


def verticals(axes: Axes) -> list[float]:
    """Where lines from bottom to top stand."""
    ends = [line.get_xdata() for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    return [x[0] for x in ends]


def test_the_budget_is_a_line_against_time_only(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [2]}), baselines=())
    assert verticals(curves(scores).axes[0]) == [BUDGET]
    assert verticals(curves(scores, against="step").axes[0]) == []
    assert "budget 60 s" not in labels(curves(scores, against="step"))


def test_a_far_budget_does_not_squeeze_the_curves(tmp_path: Path):
    meta = {**META, "workload.max_allowed_runtime_sec": 3600.0}
    write_trial(trial_dir(tmp_path, "a"), hits_at(2), meta=meta)
    figure = curves(score_tree(tmp_path, baselines=()))
    assert figure.axes[0].get_xlim()[1] < 100
    assert labels(figure)[-1] == "budget 60 min (right of the plot)"


def test_the_target_is_a_line_in_the_frame(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"a": [99]}), baselines=())
    (axes,) = curves(scores).axes
    assert any((np.asarray(line.get_ydata()) == TARGET).all() for line in axes.lines)
    low, high = axes.get_ylim()
    assert low < TARGET < high


@pytest.mark.parametrize(
    ("period", "label", "end"),
    [
        (10.0, "submission time (s)", 80.0),
        (100.0, "submission time (min)", 800 / 60),
        (5000.0, "submission time (h)", 40000 / 3600),
    ],
)
def test_units_of_time(tmp_path: Path, period: float, label: str, end: float):
    write_trial(trial_dir(tmp_path, "a"), hits_at(2), period=period)
    figure = curves(score_tree(tmp_path, baselines=()))
    assert figure.axes[0].get_xlabel() == label
    (study,) = studies(figure, COLOURS[0])
    assert study[-1][0] == pytest.approx(end)


def test_far_off_values_do_not_squeeze_the_race(tmp_path: Path):
    """Ten good evaluations, an untrained one before, a divergent one at the end."""
    values = [0.0, *np.linspace(0.6, 0.75, 10), -50.0]
    write_trial(trial_dir(tmp_path, "a"), values)
    low, high = curves(score_tree(tmp_path, baselines=())).axes[0].get_ylim()
    assert 0.5 < low < 0.7
    assert 0.75 < high < 0.8


def test_the_start_is_in_the_frame_where_there_is_room_for_it(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.2, 0.4, 0.5, 0.6, 0.75])
    low, _ = curves(score_tree(tmp_path, baselines=())).axes[0].get_ylim()
    assert 0.1 < low < 0.2


def test_a_submission_that_learns_nothing_is_in_the_frame(tmp_path: Path):
    race(tmp_path, {"a": [2, 2, 2]})
    write_trial(trial_dir(tmp_path, "b"), [0.01] * 3)
    low, _ = curves(score_tree(tmp_path, baselines=())).axes[0].get_ylim()
    assert low < 0.01


def test_losses_over_a_wide_range_have_a_logarithmic_axis(tmp_path: Path):
    meta = {
        **META,
        "workload.target_metric_name": "ppl",
        "workload.validation_target_value": 20.0,
    }
    values = [50000.0, 900.0, 300.0, 90.0, 30.0, 19.0]
    write_trial(trial_dir(tmp_path, "a"), values, metric="ppl", meta=meta)
    (axes,) = curves(score_tree(tmp_path, baselines=())).axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 19 < 300 < axes.get_ylim()[1] < 50000


def test_values_that_are_not_finite_are_left_out(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.1, "nan", "inf", 0.3, 0.5, 0.8])
    figure = curves(score_tree(tmp_path, baselines=()))
    (study,) = studies(figure, COLOURS[0])
    assert [value for _, value in study] == [0.1, 0.3, 0.5, 0.8]
    assert np.isfinite(figure.axes[0].get_ylim()).all()


def test_the_profile(tmp_path: Path):
    for workload, hits in (("one", {"a": [1], "b": [2]}), ("two", {"a": [3], "b": [1]})):
        race(tmp_path, hits, workload)
    scores = score_tree(tmp_path, baselines=())
    look = looks(list(scores.scores))
    figure = plots.performance_profile(scores, look)
    b, a = figure.axes[0].lines
    assert (b.get_color(), a.get_color()) == (look["b"].colour, look["a"].colour)
    assert list(b.get_xdata()) == [1.0, 2.0, 3.0, 4.0]
    assert list(b.get_ydata()) == [0.5, 1.0, 1.0, 1.0]
    assert list(a.get_ydata()) == [0.5, 0.5, 1.0, 1.0]
    assert (a.get_drawstyle(), b.get_drawstyle()) == ("steps-post", "steps-post")
    assert labels(figure) == ["b (0.8333)", "a (0.6667)"]
