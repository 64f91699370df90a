"""The live table, against trees that grow while it is shown."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from log_trees import hits_at, race, trial_dir, write_trial
from rich.console import Console

from benchmark.scoring import Scores, score_tree
from benchmark.watch import latest, watch

NOW = 1_000_000.0


def terminal(is_terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=100, height=40, force_terminal=is_terminal), out


def run(
    tmp_path: Path, console: Console, *between: Callable[[], object], every: float = 5
) -> tuple[Scores | None, list[float]]:
    """Watches `tmp_path`; each of `between` happens in one pause, after them comes Ctrl-C."""
    pauses: list[float] = []
    happenings: Iterator[Callable[[], object]] = iter(between)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        try:
            happening = next(happenings)
        except StopIteration:
            raise KeyboardInterrupt from None
        happening()

    def score() -> Scores:
        return score_tree(tmp_path, baselines=())

    return watch(score, every, console, now=lambda: NOW, pause=pause), pauses


def test_waits_for_logs_then_shows_each_change_once(tmp_path: Path):
    console, out = terminal()
    scores, pauses = run(
        tmp_path,
        console,
        lambda: race(tmp_path, {"adamw": [2]}),
        lambda: None,
        lambda: race(tmp_path, {"asgo": [1]}),
    )
    assert pauses == [5, 5, 5, 5]
    told = out.getvalue()
    assert told.count("waiting: ") == 1
    assert "no logs found" in told
    assert told.count("AlgoPerf") == 2
    assert scores is not None
    assert list(scores.scores) == ["asgo", "adamw"]


def test_a_trial_that_grows_is_read_again(tmp_path: Path):
    folder = trial_dir(tmp_path, "a")
    write_trial(folder, hits_at(9, of=3), result=False)
    console, out = terminal()
    scores, _ = run(tmp_path, console, lambda: write_trial(folder, hits_at(4, of=4), result=False))
    assert scores is not None
    assert scores.by_workload("time_to_target").loc["a", "toy"] == 40.0
    assert "at step 300, 30.0 of 60.0 s" in out.getvalue()
    assert "at step 400, 40.0 of 60.0 s" in out.getvalue()


def test_a_half_written_file_is_no_end(tmp_path: Path):
    folder = trial_dir(race(tmp_path, {"a": [1]}), "a")
    console, _ = terminal()
    scores, pauses = run(
        tmp_path,
        console,
        lambda: (folder / "eval_measurements.csv").write_text(""),
        lambda: write_trial(folder, hits_at(2)),
    )
    assert len(pauses) == 3
    assert scores is not None
    assert scores.by_workload("time_to_target").loc["a", "toy"] == 20.0


def test_nothing_ever_to_score(tmp_path: Path):
    console, _ = terminal()
    scores, _ = run(tmp_path / "absent", console)
    assert scores is None


def test_in_a_terminal_the_table_stays_in_its_place(tmp_path: Path):
    race(tmp_path, {"adamw": [2], "asgo": [1]})
    console, out = terminal(is_terminal=True)
    run(tmp_path, console, lambda: None, every=7)
    told = out.getvalue()
    assert "again in 7 s; Ctrl-C ends watching" in told
    assert "\x1b[1A" in told  # the cursor goes up: what was shown is written over
    assert told.index("Latest evaluations") < told.index("submission")


def test_on_a_small_screen_the_leaderboard_is_shown(tmp_path: Path):
    race(tmp_path, {f"s{i:02}": [1] for i in range(21)})
    console, out = terminal(is_terminal=True)
    run(tmp_path, console)
    assert "All 21 times to target are in the report." in out.getvalue()


def test_latest_evaluations_newest_first(tmp_path: Path):
    race(tmp_path, {"a": [1], "b": [2], "c": [9]})
    for name, age in (("a", 30), ("b", 10), ("c", 20)):
        csv = trial_dir(tmp_path, name) / "eval_measurements.csv"
        os.utime(csv, (NOW - age, NOW - age))
    lines = latest(score_tree(tmp_path, baselines=()), NOW).splitlines()
    assert lines[0] == "Latest evaluations:"
    assert lines[1] == (
        "b/study_0/toy_jax/trial_1: 10 s ago at step 800, 80.0 of 60.0 s, "
        "mean_average_precision 0.7600 (target ≥ 0.7)"
    )
    assert [line[0] for line in lines[1:]] == ["b", "c", "a"]


def test_only_a_few_of_the_latest_are_shown(tmp_path: Path):
    race(tmp_path, {f"s{i:02}": [1] for i in range(20)})
    assert len(latest(score_tree(tmp_path, baselines=()), NOW).splitlines()) == 7


def test_other_errors_are_not_swallowed(tmp_path: Path):
    console, _ = terminal()

    def broken() -> Scores:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watch(broken, 1, console)
