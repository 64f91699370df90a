"""Entries that are imported and asked, in a process of their own."""

import json
import sys

import pytest
import small_entries

from benchmark.entries.check import Entry, asking, check
from benchmark.errors import UserError


def told(folder, **options):
    """The lines about one entry that was asked."""
    entry = Entry(folder)
    (answer,) = asking.ask([entry], **options)
    return [defect.text("E") for defect in check(entry, answer)]


def test_a_good_entry_and_one_below_submissions(tmp_path):
    assert told(small_entries.write(tmp_path)) == []
    more = "from submissions.self_tuning.small import helper\n"
    folder = small_entries.write(tmp_path / "submissions", more=more, helper="A = 1\n")
    assert told(folder) == []


def test_batch_sizes(tmp_path):
    folder = small_entries.write(tmp_path)
    path = folder / "submission.py"
    text = path.read_text()
    wrong = text.replace('"ogbg": 512', '"ogbg": "512"').replace('"wmt": 128', '"wmt": 0')
    path.write_text(wrong.replace('    "fastmri": 32,\n', ""))
    assert told(folder) == [
        "E/submission.py: get_batch_size('fastmri'): ValueError (allowed: a positive integer)",
        "E/submission.py: get_batch_size('ogbg'): not an integer, '512' "
        "(allowed: a positive integer)",
        "E/submission.py: get_batch_size('wmt'): 0 (allowed: a positive integer)",
    ]
    path.write_text(text.replace("if workload_name not in SIZES", "if not workload_name"))
    assert told(folder) == [
        "E/submission.py: get_batch_size of an unknown workload: KeyError (allowed: ValueError)"
    ]
    path.write_text(text.replace("SIZES[workload_name]", "SIZES.get(workload_name, 1)"))
    path.write_text(path.read_text().replace("raise ValueError", "str"))
    assert told(folder) == [
        "E/submission.py: get_batch_size of an unknown workload: 1 (allowed: ValueError)"
    ]


CHECKING = """
def check_hyperparameters(hyperparameters):
    values = hyperparameters._asdict() if hyperparameters else {}
    if values.get("rate", 0) > 1 or NONE is None and not values:
        raise ValueError(f"rate of {values}")
"""


def test_points_are_the_submissions_to_judge(tmp_path):
    more = CHECKING.replace("NONE", "1")
    folder = small_entries.write(tmp_path, "external_tuning", more=more)
    points = [{"rate": rate, "unread": 1} for rate in (0.5, 1, 2, 0, 3)]
    (folder / "tuning_search_space.json").write_text(json.dumps(points))
    lines = told(folder)
    assert [line.partition(" (submission.py:")[0] for line in lines] == [
        f"E/tuning_search_space.json: point {number}: ValueError: rate of "
        f"{{'rate': {rate}, 'unread': 1}}"
        for number, rate in ((3, 2), (5, 3))
    ]
    # Without asking, the text decides.
    assert [d.what for d in check(Entry(folder))] == ["unread: nothing in the code reads it"]


def test_self_tuning_is_asked_with_nothing(tmp_path):
    folder = small_entries.write(tmp_path, more=CHECKING.replace("NONE", "None"))
    assert [line[: len("E/submission.py: hyperparameters {}")] for line in told(folder)] == [
        "E/submission.py: hyperparameters No",
        "E/submission.py: hyperparameters {}",
    ]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero (submission.py:7)"),
        ("import no_such_package", "cannot be imported: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("from algoperf import nothing", "cannot be imported: ImportError: cannot import name"),
        ("import os; os._exit(5)", "the process ended, status 5"),
    ],
)
def test_an_entry_that_cannot_be_imported(tmp_path, more, what):
    folder = small_entries.write(tmp_path, more=more)
    lines = [line for line in told(folder) if what in line]
    assert len(lines) == 1
    assert lines[0].startswith("E/submission.py: ")


def test_a_package_that_is_only_missing_here_is_a_warning(tmp_path):
    folder = small_entries.write(tmp_path, more="import no_such_package")
    (folder / "requirements.txt").write_text("no-such_package==1.0  # because\n")
    (line,) = told(folder)
    assert line.startswith("warning: E/submission.py: cannot be imported: ModuleNotFoundError")
    assert line.endswith("not asked, try --python")


def test_entries_behind_one_that_ends_the_process_are_told(tmp_path):
    folders = [
        small_entries.write(tmp_path, name="first"),
        small_entries.write(tmp_path, name="second", more="import os; os._exit(5)"),
        small_entries.write(tmp_path, name="third"),
    ]
    entries = [Entry(folder) for folder in folders]
    answers = asking.ask(entries)
    assert "batch_sizes" in answers[0]
    assert "status 5" in answers[1]["error"]
    (defect,) = check(entries[2], answers[2])
    assert not defect.fatal
    assert "another entry ended the process" in defect.what


def test_one_name_in_two_places(tmp_path):
    folders = [small_entries.write(tmp_path / place) for place in "ab"]
    path = folders[1] / "submission.py"
    path.write_text(path.read_text().replace('"ogbg": 512', '"ogbg": 256'))
    answers = asking.ask([Entry(folder) for folder in folders])
    assert [answer["batch_sizes"]["ogbg"] for answer in answers] == [512, 256]


def test_time_runs_out(tmp_path):
    folder = small_entries.write(tmp_path, more="import time; time.sleep(60)")
    (line,) = told(folder, timeout=3)
    assert "took more than 3 s" in line


def test_an_interpreter_that_is_none(tmp_path):
    with pytest.raises(UserError, match="--python=/nowhere: No such file"):
        asking.ask([Entry(small_entries.write(tmp_path))], python="/nowhere")


def test_an_entry_finds_nothing_of_this_repository(tmp_path):
    folder = small_entries.write(tmp_path, more="import matprec")
    assert any("No module named 'matprec'" in line for line in told(folder, python=sys.executable))
