"""Shows the scores of a log tree while runs are still writing it."""

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from benchmark.errors import UserError
from benchmark.report import MOST_ROWS, print_table
from benchmark.report.format import duration, metric, seconds, steps
from benchmark.scoring import Scores

LATEST_SHOWN = 6


def watch(
    score: Callable[[], Scores],
    every: float,
    console: Console,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Scores | None:
    """Scores and shows the table again and again, `every` seconds after the last time, until
    Ctrl-C; returns the last scores, None if there never were any.

    In a terminal the table stays in its place; elsewhere it is printed whenever it has changed.
    While there is nothing to score yet, or a run's files are half written, it says so and waits.
    """
    scores, printed = None, ""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while True:
                try:
                    scores = score()
                    table = _captured(scores, console)
                    # Above the table, whose end a small terminal cuts off.
                    shown = Group(Text(latest(scores, now())), table)
                except UserError as error:
                    table = Text(f"waiting: {error}")
                    shown = table
                if console.is_terminal:
                    live.update(Group(_head(every, now()), shown), refresh=True)
                elif table.plain != printed:
                    console.print(shown)
                    printed = table.plain
                pause(every)
        except KeyboardInterrupt:
            return scores


def latest(scores: Scores, now: float) -> str:
    """The last evaluation of the trials that logged one most recently, one line each."""
    last = scores.curves.groupby(
        ["submission", "study", "workload", "framework", "trial"], observed=True
    ).tail(1)
    lines: list[tuple[float, str]] = []
    for row in last.to_dict("records"):
        folder = f"{row['workload']}_{row['framework']}"
        name = f"{row['submission']}/study_{row['study']}/{folder}/trial_{row['trial']}"
        try:
            age = now - (scores.root / name / "eval_measurements.csv").stat().st_mtime
        except OSError:
            continue  # an alias's folder has another name; the table shows it all the same
        target = scores.targets[row["workload"]]
        budget = f" of {seconds(target.budget)}" if target.budget > 0 else ""
        lines.append(
            (
                age,
                f"{name}: {duration(age)} ago at step {steps(row['step'])}, "
                f"{seconds(row['time'])}{budget} s, {target.metric} {metric(row['value'])} "
                f"(target {target.goal})",
            )
        )
    lines.sort()
    return "\n".join(["Latest evaluations:", *(line for _, line in lines[:LATEST_SHOWN])])


def _captured(scores: Scores, console: Console) -> Text:
    # What does not fit on the screen nobody sees: then the leaderboard.
    most_rows = console.height // 2 if console.is_terminal else MOST_ROWS
    with console.capture() as capture:
        print_table(scores, console, most_rows)
    return Text.from_ansi(capture.get())


def _head(every: float, now: float) -> Text:
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    return Text(f"{clock}, again in {every:g} s; Ctrl-C ends watching and writes the report")
