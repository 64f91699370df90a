"""The plots of a report, as matplotlib figures without any window system behind them."""

from benchmark.report.plots.image import png, svg
from benchmark.report.plots.learning import AXES, Against, learning_curves
from benchmark.report.plots.profile import performance_profile
from benchmark.report.plots.speedups import speedups
from benchmark.report.plots.studies import curves
from benchmark.report.plots.times import times

__all__ = [
    "AXES",
    "Against",
    "curves",
    "learning_curves",
    "performance_profile",
    "png",
    "speedups",
    "svg",
    "times",
]
