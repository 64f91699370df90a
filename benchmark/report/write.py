"""Writes a report: one self-contained HTML page, its plots as PNG and SVG, its tables as Markdown
and LaTeX, its numbers as JSON and CSV."""

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from benchmark.errors import UserError
from benchmark.log import write_bytes, write_text
from benchmark.report import plots
from benchmark.report.data import as_csv, as_json
from benchmark.report.documents import as_latex, as_markdown
from benchmark.report.html import Plot, render
from benchmark.report.leaderboard import present_baselines
from benchmark.report.style import Look, looks
from benchmark.scoring import Scores

PLOTS = "plots"
# From so many on it pays to draw them in two processes.
MANY = 12


@dataclass(frozen=True)
class Planned:
    """A plot to be drawn. name: of its files; draw: None if there turns out to be nothing to draw;
    workload: None for a plot over all of them."""

    name: str
    title: str
    workload: str | None
    draw: Callable[[], Figure | None]


def write_report(scores: Scores, output_dir: str | Path, *, progress: bool = False) -> list[Path]:
    """Writes `report.html`, `scores.json`, `scores.csv`, `scores.md`, `scores.tex` into
    `output_dir`, and one PNG and one SVG per plot into `plots` there.

    Files are replaced one by one, each whole. progress: whether to show a bar, where stderr is a
    terminal. Returns the files, the page first. Raises UserError if `output_dir` cannot be written.
    """
    output_dir = Path(output_dir)
    look = looks(list(scores.scores), scores.baselines)
    try:
        (output_dir / PLOTS).mkdir(parents=True, exist_ok=True)
        drawn, files = [], []
        planned = _plots(scores, look)
        for plot, images in zip(planned, _images(planned, progress), strict=True):
            if images:
                drawn.append(Plot(plot.title, plot.workload, images["svg"]))
            for kind, content in images.items():
                files.append(output_dir / PLOTS / f"{plot.name}.{kind}")
                write_bytes(files[-1], content)
        texts = {
            output_dir / "report.html": render(scores, drawn, look),
            output_dir / "scores.json": json.dumps(as_json(scores), indent=2) + "\n",
            output_dir / "scores.csv": as_csv(scores),
            output_dir / "scores.md": as_markdown(scores),
            output_dir / "scores.tex": as_latex(scores),
        }
        for path, text in texts.items():
            write_text(path, text)
        return [*texts, *files]
    except OSError as error:
        raise UserError(f"{output_dir}: cannot write the report: {error.strerror}") from error


def _images(planned: Sequence[Planned], progress: bool) -> Iterator[dict[str, bytes]]:
    """The bytes of each plot's files by their ending, none if there is nothing to draw.

    Of many plots two processes draw half each, which fork from this one: the scores need not be
    copied. (On other systems than Linux forking is not safe.)
    """
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    with ExitStack() as stack:
        if len(planned) >= MANY and sys.platform == "linux":
            context = multiprocessing.get_context("fork")
            with _interrupts_wait():
                pool = stack.enter_context(context.Pool(2, _remember, (planned,)))
            images = pool.imap(_image, range(len(planned)))
        else:
            images = map(_draw, planned)
        yield from track(
            images,
            "drawing",
            total=len(planned),
            console=console,
            transient=True,
            disable=not shown,
        )


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C comes after the block, not within: Python drops exceptions of what is called after a
    fork, a KeyboardInterrupt there would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_remembered: list[Planned] = []


def _remember(planned: Sequence[Planned]) -> None:
    """In a process that has been forked: Ctrl-C is for its parent, which ends it; with a parent
    that is killed it ends by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _remembered[:] = planned


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _image(number: int) -> dict[str, bytes]:
    return _draw(_remembered[number])


def _draw(plot: Planned) -> dict[str, bytes]:
    figure = plot.draw()
    return {"svg": plots.svg(figure), "png": plots.png(figure)} if figure else {}


def _plots(scores: Scores, look: Mapping[str, Look]) -> list[Planned]:
    planned = [
        Planned(
            "performance_profile",
            "performance profile",
            None,
            lambda: plots.performance_profile(scores, look),
        )
    ]
    planned += [
        Planned(
            f"speedup_over_{baseline}",
            f"speed-up over {baseline}",
            None,
            lambda baseline=baseline: plots.speedups(scores, baseline, look),
        )
        for baseline in present_baselines(scores)
    ]
    curves = plots.curves(scores)
    for workload, target in scores.targets.items():
        planned.append(
            Planned(
                f"{workload}_studies",
                f"{workload}: time to target of every study",
                workload,
                lambda workload=workload: plots.times(scores, workload, look),
            )
        )
        planned += [
            Planned(
                f"{workload}_{axis}",
                f"{workload}: validation {target.metric} against {axis}",
                workload,
                lambda workload=workload, against=against: plots.learning_curves(
                    scores, curves[workload], workload, against, look
                ),
            )
            for against, axis in plots.AXES.items()
            if workload in curves
        ]
    return planned
