"""Reading the evaluations that trials logged, whole and broken."""

import math
from pathlib import Path

import numpy as np
import pytest
from log_trees import METRIC, TARGET, trial_dir, write_csv, write_trial

from benchmark.scoring.evals import read_evals
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import find_trials
from benchmark.scoring.targets import Target

TARGETS = {"toy": Target("toy", METRIC, TARGET)}
HEADER = f"global_step,score,validation/{METRIC}\n"
FILE = "a/study_0/toy_jax/trial_1/eval_measurements.csv"


def read_csv(tmp_path: Path, content: str | bytes | None) -> tuple[list[list[float]], Findings]:
    """step, time and value of the evaluations in a file with this content, and the findings."""
    folder = trial_dir(tmp_path, "a")
    folder.mkdir(parents=True, exist_ok=True)
    if content is not None:
        write_csv(folder, content)
    findings = Findings()
    evals = read_evals(find_trials(tmp_path, findings), TARGETS, tmp_path, findings)
    return evals[["step", "time", "value"]].to_numpy().tolist(), findings


def test_reads_numbers_exactly(tmp_path: Path):
    text = HEADER + "1,0.1234567890123456789,0.30000000000000004\n2,1e3,1e-7\n"
    rows, findings = read_csv(tmp_path, text)
    assert rows == [[1.0, 0.1234567890123456789, 0.30000000000000004], [2.0, 1000.0, 1e-7]]
    assert findings.texts == ()


WHOLE = [[1, 10, 0.5], [2, 20, 0.6]]
TEXT = HEADER + "1,10,0.5\n2,20,0.6\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"\xef\xbb\xbf" + TEXT.encode(),  # byte order mark
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        HEADER + "\n1,10,0.5\n\n\n2,20,0.6\n\n",
        HEADER.strip() + ",note\n1,10,0.5,fine\n2,20,0.6,\n",
        HEADER.strip() + ",note\n" + '1,10,0.5,"a, b"\n2,20,0.6,""\n',
        f'"global_step","score","validation/{METRIC}"\n"1","10","0.5"\n2,20,"0.6"\n',
        HEADER.strip() + ",score\n1,10,0.5,99\n2,20,0.6,99\n",
        "note," + HEADER + "x" * 1_000_000 + ",1,10,0.5\n,2,20,0.6\n",
        "note," + HEADER + '"' + "x" * 1_000_000 + '",1,10,0.5\n,2,20,0.6\n',
        "note," + HEADER + "é🚀\0,1,10,0.5\n,2,20,0.6\n",
    ],
    ids=[
        "plain",
        "byte order mark",
        "CRLF",
        "CR",
        "blank lines",
        "another column",
        "quoted commas",
        "quoted numbers",
        "a column twice: the first counts",
        "a cell of 1 MB",
        "a quoted cell of 1 MB",
        "odd characters",
    ],
)
def test_what_is_well_formed_is_read_without_a_word(tmp_path: Path, content: str | bytes):
    rows, findings = read_csv(tmp_path, content)
    assert rows == WHOLE
    assert findings.texts == ()


ABSENT = "the trial counts as absent"
IGNORED = "row ignored"


@pytest.mark.parametrize(
    ("text", "steps", "told"),
    [
        (None, [], "a/study_0/toy_jax/trial_1: no eval_measurements.csv; counts as absent"),
        ("", [], f"{FILE}: no column global_step and no column score and no column"),
        (HEADER, [], f"{FILE}: no rows; {ABSENT}"),
        ("global_step,score\n1,2\n", [], f"{FILE}: no column validation/{METRIC}; {ABSENT}"),
        (HEADER.replace(",", ";") + "1;2;3\n", [], f"{FILE}: no column global_step and no"),
        (
            HEADER + "1,10,0.1\n2,20,0.2",
            [1],
            f"{FILE}: row 3 has no line end (cut off?); {IGNORED}",
        ),
        (HEADER + "1,10,0.1\n2,20\n3,30,0.3\n", [1, 3], f"{FILE}: row 3: wrong number of cells"),
        (HEADER + "1,10,0.1,7\n3,30,0.3\n", [3], f"{FILE}: row 2: wrong number of cells"),
        (HEADER + "1,10,0.1\n2,x,0.2\n", [1], f"{FILE}: row 3: a cell is not a number; {IGNORED}"),
        (HEADER + "1,10,0.1\n2,20,0.2\0\n", [1], f"{FILE}: row 3: a cell is not a number"),
        (HEADER + "1,10,0.1\n" + HEADER, [1], f"{FILE}: row 3: the header again; {IGNORED}"),
        (HEADER + "1,10,0.1\n1,10,0.1\n", [1], f"{FILE}: row 3: repeats an earlier row; {IGNORED}"),
        (HEADER + "1,,0.1\n2,20,0.2\n", [2], f"{FILE}: row 2: global_step or score is not fin"),
        (HEADER + "1,inf,0.1\n2,20,0.2\n", [2], f"{FILE}: row 2: global_step or score is not f"),
        (HEADER + "nan,1,0.1\n2,20,0.2\n", [2], f"{FILE}: row 2: global_step or score is not f"),
        (HEADER + "1,1e999,0.1\n2,20,0.2\n", [2], f"{FILE}: row 2: global_step or score is not"),
        (HEADER + "x,1,1\ny,1,1\nz,1,1\n", [], f"{FILE}: row 2 and 2 more: a cell is not a num"),
        (HEADER + '"1,10,0.1\n2,20,0.2\n', [2], f"{FILE}: row 2: wrong number of cells"),
    ],
)
def test_rows_that_cannot_be_read_are_left_out_by_number_and_the_rest_is_read(
    tmp_path: Path, text: str | None, steps: list[int], told: str
):
    rows, findings = read_csv(tmp_path, text)
    assert [row[0] for row in rows] == steps
    assert findings.left_out == findings.texts
    (line,) = findings.texts
    assert line.startswith(told)


def test_an_unclosed_quote_swallows_no_other_row(tmp_path: Path):
    rows, _ = read_csv(tmp_path, HEADER + '1,10,"0.1\n2,20,0.2\n3,30,"0.3"\n')
    assert rows[-2:] == [[2, 20, 0.2], [3, 30, 0.3]]


def test_a_row_number_is_the_line_in_the_file_whatever_lies_between(tmp_path: Path):
    _, findings = read_csv(tmp_path, HEADER + "\n1,10,0.1\n\n\n2,x,0.2\n")
    assert findings.texts == (f"{FILE}: row 6: a cell is not a number; row ignored",)


@pytest.mark.parametrize("separator", ["\x0c", "\u2028"])
def test_only_line_ends_end_a_line(tmp_path: Path, separator: str):
    """Python's splitlines knows more separators than csv files do."""
    rows, findings = read_csv(
        tmp_path, "note," + HEADER + f"a{separator}b,1,10,0.5\nc,2,x,0.6\nd,2,20,0.6\n"
    )
    assert rows == WHOLE
    assert findings.texts == (f"{FILE}: row 3: a cell is not a number; row ignored",)


@pytest.mark.parametrize("time", ["1_0", "\u0661\u0660", "0x10", "1,0", "10s", "--10", "1 0"])
def test_only_plain_numbers_are_numbers(tmp_path: Path, time: str):
    rows, findings = read_csv(tmp_path, HEADER + f"1,{time},0.5\n2,20,0.6\n")
    assert rows == WHOLE[1:]
    assert len(findings.left_out) == 1
    assert f"{FILE}: row 2: " in findings.left_out[0]


@pytest.mark.parametrize(
    ("text", "steps", "row"),
    [
        (HEADER + "2,20,0.1\n1,30,0.2\n", [2, 1], 3),
        (HEADER + "1,20,0.1\n2,10,0.2\n", [1, 2], 3),
        (HEADER + "1,10,0.1\n3,30,0.3\n2,20,0.2\n4,40,0.4\n", [1, 3, 2, 4], 4),
    ],
)
def test_rows_out_of_order_are_kept_and_told(tmp_path: Path, text: str, steps: list[int], row: int):
    rows, findings = read_csv(tmp_path, text)
    assert [row[0] for row in rows] == steps
    assert findings.texts == (f"{FILE}: row {row}: step or time goes back; row kept",)
    assert findings.left_out == ()


def test_metrics_that_are_not_finite_are_kept_and_told(tmp_path: Path):
    rows, findings = read_csv(tmp_path, HEADER + "1,10,\n2,20,nan\n3,30,inf\n4,40,0.1\n")
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    assert np.isnan([rows[0][2], rows[1][2]]).all()
    assert rows[2][2] == math.inf
    told = f"{FILE}: row 2 and 2 more: the metric is not finite; it meets no target"
    assert findings.texts == (told,)
    assert findings.left_out == ()


def test_several_problems_of_one_file_are_told_each(tmp_path: Path):
    text = HEADER + "1,10,0.1\n1,10,0.1\n2,x,0.2\n3,30,nan\n2,20,0.2\n4,40"
    rows, findings = read_csv(tmp_path, text)
    assert [row[0] for row in rows] == [1, 3, 2]
    assert sorted(line.removeprefix(f"{FILE}: ") for line in findings.texts) == [
        "row 3: repeats an earlier row; row ignored",
        "row 4: a cell is not a number; row ignored",
        "row 5: the metric is not finite; it meets no target",
        "row 6: step or time goes back; row kept",
        "row 7 has no line end (cut off?); row ignored",
    ]
    assert len(findings.left_out) == 3


def test_which_row_of_the_file_an_evaluation_is(tmp_path: Path):
    """What AlgoPerf's script counts in: data rows from 0, repeated ones included."""
    write_csv(trial_dir(tmp_path, "a"), HEADER + "1,10,0.1\n1,10,0.1\n2,20,0.2\n")
    findings = Findings()
    evals = read_evals(find_trials(tmp_path, findings), TARGETS, tmp_path, findings)
    assert list(evals["row"]) == [0, 2]


def test_blank_lines_are_no_rows_of_the_script(tmp_path: Path):
    """AlgoPerf's script reads with pandas, which skips blank lines before it counts."""
    write_csv(trial_dir(tmp_path, "a"), HEADER + "\n1,10,0.1\n\n2,20,0.2\n")
    findings = Findings()
    evals = read_evals(find_trials(tmp_path, findings), TARGETS, tmp_path, findings)
    assert list(evals["row"]) == [0, 1]


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path):
    content = (HEADER + "1,10,?\n2,20,0.2\n").encode().replace(b"?", b"\xff\xfe")
    rows, findings = read_csv(tmp_path, content)
    assert rows == [[2, 20, 0.2]]
    assert findings.left_out == (f"{FILE}: row 2: a cell is not a number; row ignored",)


def test_compile_time_is_read_where_logged(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.1, 0.2], compile_time=2.5)
    write_trial(trial_dir(tmp_path, "b"), [0.1], compile_time=None)
    findings = Findings()
    evals = read_evals(find_trials(tmp_path, findings), TARGETS, tmp_path, findings)
    assert list(evals.query("submission == 'a'")["compile_time"]) == [2.5, 2.5]
    assert np.isnan(evals.query("submission == 'b'")["compile_time"]).all()
    assert findings.texts == ()


def test_margins_are_signed_by_the_metric(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "up"), [0.5, 0.9, "nan", "inf"], metric="accuracy")
    write_trial(trial_dir(tmp_path, "a", "down"), [0.5, 0.9, "nan", "-inf"], metric="wer")
    targets = {"up": Target("up", "accuracy", 0.9), "down": Target("down", "wer", 0.9)}
    findings = Findings()
    evals = read_evals(find_trials(tmp_path, findings), targets, tmp_path, findings)
    evals = evals.set_index("workload")
    assert list(evals.loc["up", "margin"])[:2] == [0.5 - 0.9, 0.0]
    assert list(evals.loc["down", "margin"])[:2] == [0.9 - 0.5, 0.0]
    # Neither NaN nor an infinite value may ever count as reached.
    assert evals.groupby("workload")["margin"].apply(lambda m: m.isna().sum()).tolist() == [2, 2]


def test_no_trials_give_an_empty_table_with_all_columns(tmp_path: Path):
    evals = read_evals([], TARGETS, tmp_path, Findings())
    assert len(evals) == 0
    assert {"submission", "step", "time", "value", "margin", "compile_time"} <= set(evals.columns)
