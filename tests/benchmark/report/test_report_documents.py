"""The tables as Markdown and LaTeX."""

import re
from pathlib import Path

import pytest
from log_trees import META, hits_at, race, realistic_race, trial_dir, write_trial

from benchmark.report.documents import as_latex, as_markdown
from benchmark.scoring import Scores, score_tree

ODD = "<b>&_%$#{}~^|*`_"


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return score_tree(realistic_race(tmp_path_factory.mktemp("logs")))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def table_after(text: str, heading: str) -> list[list[str]]:
    after = text.split(f"{heading}\n")[1]
    return [cells(line) for line in after.splitlines() if line.startswith("|")]


def test_markdown_tables(scores: Scores):
    text = as_markdown(scores)
    board = table_after(text, "## Leaderboard")[:6]
    assert board[0][:4] == ["#", "submission", "score", "credit"]
    assert board[0][-1] == "ogbg_small (s)"
    assert board[2][:4] == ["1", "asgo", "1.0000", "1 of 1"]
    assert board[2][-1] == "23.0"
    assert len({len(row) for row in board}) == 1
    entries = table_after(text, "## Entries")
    assert [row[0] for row in entries[2:]] == ["asgo", "nadamw", "shampoo", "adamw"]
    assert "asgo has the highest AlgoPerf benchmark score" in text
    assert "Of 3 studies: no ranking" in text


def latex_rows(text: str) -> list[list[str]]:
    """The cells between the ampersands that are not escaped."""
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r"\\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def test_latex_tables(scores: Scores):
    text = as_latex(scores)
    assert text.startswith("% \\usepackage{booktabs, longtable}\n")
    rows = latex_rows(text)
    assert rows[1][:4] == ["1", "asgo", "1.0000", "1 of 1"]
    assert r"ogbg\_small (s)" in rows[0]
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert sum(row[:2] == ["asgo", r"ogbg\_small"] for row in rows) == 1


def test_odd_names_are_escaped_in_latex(tmp_path: Path):
    text = as_latex(score_tree(race(tmp_path, {ODD: [1], "b": [2]}), baselines=(ODD,)))
    tables = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    escaped = r"<b>\&\_\%\$\#\{\}\textasciitilde \textasciicircum |*`\_"  # as pandas escapes
    assert escaped in tables
    # Nothing special is left bare: no %, $ or # at all, and _ only behind a backslash.
    assert not re.search(r"(?<!\\)[%$#_]", tables)
    widths = {len(row) for row in latex_rows(text)[:3]}
    assert len(widths) == 1


def test_odd_names_are_escaped_in_markdown(tmp_path: Path):
    text = as_markdown(score_tree(race(tmp_path, {ODD: [1], "b": [2]}), baselines=(ODD,)))
    board = table_after(text, "## Leaderboard")
    assert board[2][1] == r"\<b\>\&\_%\$#{}\~^\|\*\`\_"
    assert len({len(row) for row in board[:4]}) == 1
    assert "<b>" not in text


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path: Path):
    text = as_markdown(score_tree(race(tmp_path, {"1e3": [1], "007": [2]}), baselines=()))
    assert [row[1] for row in table_after(text, "## Leaderboard")[2:4]] == ["1e3", "007"]


def test_a_time_without_credit_is_marked(tmp_path: Path):
    """The fourth evaluation against the first is just within, the fifth beyond, four times."""
    race(tmp_path, {"a": [1], "b": [4], "c": [5], "d": [99]})
    text = as_markdown(score_tree(tmp_path, baselines=()))
    last = {row[1]: row[-1] for row in table_after(text, "## Leaderboard")[2:6]}
    assert last == {"a": "10.0", "b": "40.0", "c": r"50.0\*", "d": "-"}


def test_mixed_runs_are_marked(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    write_trial(trial_dir(tmp_path, "b"), hits_at(1), meta={**META, "cpu_model_name": "Another"})
    scores = score_tree(tmp_path, baselines=(), allow_mixed=True)
    assert "**MIXED, times do not compare: different hardware: Another" in as_markdown(scores)
    assert "\n\\textbf{Mixed runs: times do not compare.}\n" in as_latex(scores)
    assert "MIXED" not in as_markdown(
        score_tree(tmp_path, baselines=(), submissions=["a"], allow_mixed=True)
    )
