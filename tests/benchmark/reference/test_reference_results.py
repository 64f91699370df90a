"""What a test's process ended with, told as a status and a cause; results on disk."""

import dataclasses
import signal
import sys

import pytest

from benchmark.reference import results

ABSLTEST_FAILURE = """\
[ RUN      ] ReferenceSubmissionTest.test_submission
[  FAILED  ] ReferenceSubmissionTest.test_submission
======================================================================
ERROR: test_submission (__main__.ReferenceSubmissionTest.test_submission)
ReferenceSubmissionTest.test_submission
----------------------------------------------------------------------
Traceback (most recent call last):
  File "a.py", line 1, in f
    g()
KeyError: 'inner'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in g
    h()
TypeError: make_run() takes 2 positional arguments
but 3 were given

----------------------------------------------------------------------
Ran 1 test in 1.750s

FAILED (errors=1)
"""
SUCCESS = "Ran 1 test in 30.1s\n\nOK\n"


def result(**changes) -> results.Result:
    plain = results.Result(
        submission="a",
        workload="ogbg",
        framework="jax",
        status="failed",
        seconds=3.5,
        cause="x",
        time_limit_sec=10.0,
        command=["python"],
        environment={"A": "b"},
        key="0123",
        made_of={"sources": "x"},
        commit="abc",
        finished_at="2026-01-01T00:00:00+00:00",
        output_tail=["x"],
    )
    return dataclasses.replace(plain, **changes)


def test_the_cause_is_the_last_exception_on_one_line():
    expected = "TypeError: make_run() takes 2 positional arguments but 3 were given"
    assert results.cause(ABSLTEST_FAILURE) == expected


def test_the_cause_of_a_real_interpreter(tmp_path):
    import subprocess

    script = tmp_path / "a.py"
    script.write_text("def f():\n    raise OSError('first\\nsecond')\n\n\nf()\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert results.cause(done.stderr) == "OSError: first second"


def test_without_a_traceback_the_cause_is_the_last_line():
    assert results.cause("one\nFATAL Flags parsing error: x\n\n") == "FATAL Flags parsing error: x"
    assert results.cause("\n \n") == ""


def test_a_long_cause_is_cut():
    assert len(results.cause("Traceback (most recent call last):\nE: " + "x" * 9999)) == 500


@pytest.mark.parametrize(
    ("exit_status", "output", "expected"),
    [
        (0, SUCCESS, ("passed", "")),
        (0, "Ran 0 tests in 0.0s\n\nOK\n", ("failed", "no test was run")),
        (0, "", ("failed", "no test was run")),
        (None, SUCCESS, ("timeout", "not finished after 12.5 s")),
        (1, "", ("failed", "exit status 1")),
        (-signal.SIGSEGV, SUCCESS, ("failed", "ended by SIGSEGV")),
        (-signal.SIGKILL, "", ("failed", "ended by SIGKILL (out of memory?)")),
    ],
)
def test_judge(exit_status, output, expected):
    assert results.judge(exit_status, output, 12.5) == expected


def test_a_result_comes_back_from_its_file(tmp_path):
    saved = result()
    results.save(saved, tmp_path)
    assert results.load(tmp_path, "a", "ogbg", "jax", "0123") == saved
    for other in [("b", "ogbg", "jax", "0123"), ("a", "ogbg", "jax", "0124")]:
        assert results.load(tmp_path, *other) is None
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["ogbg.jax.0123.json"]


def test_an_entry_s_name_may_have_a_folder(tmp_path):
    saved = result(submission="self_tuning/a")
    results.save(saved, tmp_path)
    assert results.load(tmp_path, "self_tuning/a", "ogbg", "jax", "0123") == saved


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_broken_file_is_no_result(tmp_path, text):
    results.save(result(), tmp_path)
    results.path_of(tmp_path, "a", "ogbg", "jax", "0123").write_text(text)
    assert results.load(tmp_path, "a", "ogbg", "jax", "0123") is None


def test_only_a_timeout_with_less_time_is_worth_another_run():
    assert result(status="timeout").stands(10.0)
    assert not result(status="timeout").stands(10.1)
    assert result(status="failed").stands(99.0)
    assert result(status="passed").stands(99.0)


def test_the_digest_depends_on_every_value_and_not_on_the_order():
    first = {"a": 1, "b": {"c": None}}
    assert results.digest(first) == results.digest({"b": {"c": None}, "a": 1})
    assert results.digest(first) != results.digest({"a": 1, "b": {"c": 0}})
    assert len(results.digest(first)) == 16
