"""Bars, lines and JSON."""

import io
import json
import time

import pytest
from fakes.reports import RecordingReporter
from rich.console import Console

from benchmark import progress


@pytest.mark.parametrize("kind", ["bar", "json"])
def test_of_torchruns_processes_the_first_alone_shows_anything(kind, monkeypatch, capsys):
    for rank, shown in (("0", True), ("1", False)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with progress.reporter(kind) as reporter:
            reporter.note("a note")
        assert ("a note" in capsys.readouterr().out) == shown


def test_plain_lines_come_at_most_every_ten_seconds_per_label(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with progress.reporter("bar", stream) as reporter:  # a StringIO is no terminal
        for second in range(25):
            now[0] = float(second)
            reporter.update("asgo", second / 25, f"step {second}")
            reporter.update("adamw", second / 25, f"step {second}")
        reporter.end("asgo", "budget at step 25")
        reporter.note("a note")
    assert stream.getvalue().splitlines() == [
        "asgo: step 0",
        "adamw: step 0",
        "asgo: step 10",
        "adamw: step 10",
        "asgo: step 20",
        "adamw: step 20",
        "asgo: budget at step 25",
        "a note",
    ]


@pytest.fixture
def terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda file: Console(file=file, force_terminal=True, width=100)
    )
    return stream


def test_bars_in_a_terminal(terminal):
    with progress.reporter("bar", terminal) as reporter:
        reporter.update("asgo [1]", 0.5, "step 3 [bold] of ten")
        reporter.update("shampoo", 0.25, "step 2")
        deadline = time.monotonic() + 60
        while not all(text in terminal.getvalue() for text in ("step 3 [bold]", "step 2")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        shown = terminal.getvalue()
        reporter.end("asgo [1]", "targets_reached at step 9")
        reporter.note("a note " * 30)
    assert "asgo [1]" in shown  # brackets are no markup
    assert "step 3 [bold] of ten" in shown
    assert "shampoo" in shown
    assert "━" in shown
    after = terminal.getvalue()[len(shown) :]
    assert "asgo [1]: targets_reached at step 9" in after
    assert ("a note " * 30).strip() in after  # not wrapped: it may be a path


def test_ending_what_was_never_shown_tells_the_end(terminal):
    with progress.reporter("bar", terminal) as reporter:
        reporter.end("asgo", "failed: no memory")
    assert "asgo: failed: no memory" in terminal.getvalue()


def test_json_lines_are_relayed_under_the_parents_label(capsys):
    with progress.reporter("json") as reporter:
        reporter.note("set aside")
        reporter.update("trial_1", 0.5, "step 3")
        reporter.update("trial_1", 1, "step 4")
        reporter.end("trial_1", "budget")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    parent = RecordingReporter()
    for line in lines:
        progress.relay(line, "asgo study 0", parent)
    assert parent.notes == ["asgo study 0: set aside"]
    assert parent.updates == [("asgo study 0", 0.5, "step 3"), ("asgo study 0", 1, "step 4")]
    assert parent.ends == [("asgo study 0", "budget")]


@pytest.mark.parametrize("line", ["hello", "", "[1]", '{"a": 1}', '["delete", "x"]', '["note", 3]'])
def test_other_output_of_a_child_is_left_out(line):
    parent = RecordingReporter()
    progress.relay(line, "asgo", parent)
    assert [parent.notes, parent.updates, parent.ends] == [[], [], []]


def test_none_is_silent(capsys):
    with progress.reporter("none") as reporter:
        reporter.note("x")
        reporter.update("a", 0.5, "y")
        reporter.end("a", "z")
    assert capsys.readouterr() == ("", "")


def test_json_keeps_odd_characters():
    parent = RecordingReporter()
    progress.relay(json.dumps(["note", "é\n"]), "a", parent)
    assert parent.notes == ["a: é\n"]
