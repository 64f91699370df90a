"""Writes a report: one self-contained HTML page, its plots as PNG, its numbers as JSON and CSV."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from benchmark.errors import UserError
from benchmark.log import write_bytes, write_text
from benchmark.report import plots
from benchmark.report.data import as_csv, as_json
from benchmark.report.html import Plot, render
from benchmark.report.style import looks
from benchmark.scoring import Scores

PNG_DPI = 200


def write_report(scores: Scores, output_dir: str | Path, *, progress: bool = False) -> list[Path]:
    """Writes `report.html`, `scores.json`, `scores.csv` and one PNG per plot into `output_dir`.

    Files are replaced one by one, each whole. progress: whether to show a bar, where stderr is a
    terminal. Returns the files, the page first. Raises UserError if `output_dir` cannot be written.
    """
    output_dir = Path(output_dir)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        drawn, files = [], []
        console = Console(stderr=True)
        shown = progress and console.is_terminal
        todo = track(_plots(scores), "drawing", console=console, transient=True, disable=not shown)
        for name, title, workload, draw in todo:
            figure = draw()
            files.append(output_dir / f"{name}.png")
            write_bytes(files[-1], _image(figure, "png"))
            drawn.append(Plot(title, workload, _image(figure, "svg")))
        texts = {
            output_dir / "report.html": render(scores, drawn),
            output_dir / "scores.json": json.dumps(as_json(scores), indent=2) + "\n",
            output_dir / "scores.csv": as_csv(scores),
        }
        for path, text in texts.items():
            write_text(path, text)
        return [*texts, *files]
    except OSError as error:
        raise UserError(f"{output_dir}: cannot write the report: {error.strerror}") from error


def _plots(scores: Scores) -> Sequence[tuple[str, str, str | None, Callable[[], Figure]]]:
    """File name, what it shows, its workload, and how to draw it."""
    look = looks(scores.scores)
    logged = set(scores.curves["workload"])
    learning: list[tuple[str, str, str | None, Callable[[], Figure]]] = [
        (
            f"{workload}_{axis}",
            f"{workload}: validation {target.metric} against {axis}",
            workload,
            lambda workload=workload, against=against: plots.learning_curves(
                scores, workload, against, look
            ),
        )
        for workload, target in scores.targets.items()
        if workload in logged
        for against, axis in plots.AXES.items()
    ]
    profile = lambda: plots.performance_profile(scores, look)  # noqa: E731
    return [*learning, ("performance_profile", "performance profile", None, profile)]


def _image(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Without a date and with a fixed salt the same logs give the same bytes.
    with rc_context({"svg.hashsalt": "matprec"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()
