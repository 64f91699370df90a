"""Broken evaluation files in a whole tree: told by name and row, the rest is scored, and nothing
broken ever makes a time better than it was."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from log_trees import METRIC, TARGET, race, trial_dir, write_csv, write_targets, write_trial

from benchmark.scoring import MODES, Scores, score_tree
from benchmark.scoring.time_to_target import Mode

HEADER = f"global_step,score,validation/{METRIC}\n"
FILE = "a/study_0/toy_jax/trial_1/eval_measurements.csv"
ROWS = [f"{100 * i},{10 * i}.25,{value}\n" for i, value in enumerate((0.1, 0.5, 0.75, 0.8), 1)]
WHOLE = HEADER + "".join(ROWS)

both_modes = pytest.mark.parametrize("mode", MODES)


def scored(root: Path, content: str | bytes, mode: Mode = "fastest") -> tuple[float, Scores]:
    """The time of submission a, whose only file has this content, beside b, which takes 20 s."""
    race(root, {"a": [1], "b": [2]})
    write_csv(trial_dir(root, "a"), content)
    scores = score_tree(root, baselines=("b",), mode=mode)
    times = scores.by_workload("time_to_target")["toy"]
    assert times["b"] == 20.0
    assert all(math.isfinite(score) for score in scores.scores.values())
    assert all("\n" not in line for line in scores.warnings)
    return float(times["a"]), scores


def scored_all(
    root: Path, contents: Sequence[str | bytes], mode: Mode
) -> list[tuple[float, list[str], list[str]]]:
    """Of each file in one tree, beside others: the time, what was left out and what else is told,
    by row."""
    names = [f"file{number:03}" for number in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        write_trial(trial_dir(root, name), [])  # the meta data
        write_csv(trial_dir(root, name), content)
    scores = score_tree(root, baselines=(), mode=mode)
    times = scores.by_workload("time_to_target")["toy"]
    found = []
    for name in names:
        start = f"{name}/study_0/toy_jax/trial_1/eval_measurements.csv: "
        told = [line.removeprefix(start) for line in scores.warnings if line.startswith(start)]
        left_out = [line for line in told if start + line in scores.left_out]
        found.append((float(times[name]), left_out, [x for x in told if x not in left_out]))
    return found


@both_modes
def test_files_without_evaluations(tmp_path: Path, mode: Mode):
    contents = ["", HEADER, HEADER.strip(), "\n", "\n\n\n", "\0", "x", HEADER + "\n\n"]
    absent = {"fastest": math.inf, "official": math.nan}[mode]
    found = scored_all(tmp_path, contents, mode)
    for content, (time, left_out, _) in zip(contents, found, strict=True):
        assert time == pytest.approx(absent, nan_ok=True), content
        assert left_out, content
        assert left_out[-1].endswith("the trial counts as absent"), content


def test_a_file_cut_anywhere_is_never_faster_than_the_whole(tmp_path: Path):
    """At every byte: a cut number must not become another one that meets the target."""
    cuts = [WHOLE[:length] for length in range(len(WHOLE) + 1)]
    found = scored_all(tmp_path, cuts, "fastest")
    for cut, (time, left_out, _) in zip(cuts, found, strict=True):
        # All whole rows count and nothing else; the third meets the target.
        assert time == (30.25 if cut.count("\n") >= 4 else math.inf), cut
        whole_rows = cut.endswith("\n") and cut != HEADER
        assert bool(left_out) != whole_rows, cut


def test_a_cut_number_of_a_falling_metric_is_never_met(tmp_path: Path):
    """Lower is better: 0.7123 cut to 0.7 or to 0 would meet a target that the run never met."""
    text = WHOLE.replace(METRIC, "wer").replace("0.1", "0.95").replace("0.75", "0.7123")
    targets = write_targets(tmp_path / "targets.json", {"toy": 0.45}, metric="wer")
    for length in range(len(text) + 1):
        write_csv(trial_dir(tmp_path, f"cut{length:03}"), text[:length])
    scores = score_tree(tmp_path, targets=targets, baselines=())
    assert len(scores.scores) == len(text) + 1
    assert (scores.table["time_to_target"] == math.inf).all()


LEFT_OUT = [
    # Repeated rows and a header in between, as a resumed run may leave them.
    ([*ROWS[:2], ROWS[1], *ROWS[2:]], "row 4: repeats an earlier row; row ignored"),
    ([*ROWS, *ROWS], "row 6 and 3 more: repeats an earlier row; row ignored"),
    ([*ROWS[:2], HEADER, *ROWS[2:]], "row 4: the header again; row ignored"),
    # Bad cells.
    (["1,x,0.9\n", *ROWS], "row 2: a cell is not a number; row ignored"),
    (["1,nan,0.9\n", *ROWS], "row 2: global_step or score is not finite; row ignored"),
    (["1,inf,0.9\n", *ROWS], "row 2: global_step or score is not finite; row ignored"),
    (["1,-inf,0.9\n", *ROWS], "row 2: global_step or score is not finite; row ignored"),
    ([",1,0.9\n", *ROWS], "row 2: global_step or score is not finite; row ignored"),
    (["1,0.9\n", *ROWS], "row 2: wrong number of cells; row ignored"),
    (["1,1,1,0.9\n", *ROWS], "row 2: wrong number of cells; row ignored"),
    (["\0\0\0\n", *ROWS], "row 2: wrong number of cells; row ignored"),
    (["1,1\0,0.9\n", *ROWS], "row 2: a cell is not a number; row ignored"),
    (["é🚀,1,0.9\n", *ROWS], "row 2: a cell is not a number; row ignored"),
    (["1,1," + "9" * 1_000_000 + "x\n", *ROWS], "row 2: a cell is not a number; row ignored"),
]


@both_modes
def test_rows_left_out(tmp_path: Path, mode: Mode):
    found = scored_all(tmp_path, [HEADER + "".join(rows) for rows, _ in LEFT_OUT], mode)
    for (_, told), (time, left_out, _) in zip(LEFT_OUT, found, strict=True):
        assert (time, left_out) == (30.25, [told])


NO_VALUE = "row 2: the metric is not finite; it meets no target"
BACK = "step or time goes back; row kept"
KEPT = [
    (["1,1,\n", *ROWS], NO_VALUE, {}),
    (["1,1,nan\n", *ROWS], NO_VALUE, {}),
    (["1,1,inf\n", *ROWS], NO_VALUE, {}),
    (["1,1,1e999\n", *ROWS], NO_VALUE, {}),
    (["9,99,0.1\n", *ROWS], f"row 3: {BACK}", {}),
    ([*ROWS, "1,1,0.1\n"], f"row 6: {BACK}", {}),
    ([ROWS[3], ROWS[0], ROWS[2]], f"row 3: {BACK}", {"official": 40.25}),
]


@both_modes
def test_odd_rows_that_count(tmp_path: Path, mode: Mode):
    found = scored_all(tmp_path, [HEADER + "".join(rows) for rows, *_ in KEPT], mode)
    for (_, told, other), (time, left_out, notes) in zip(KEPT, found, strict=True):
        assert (time, left_out, notes) == (other.get(mode, 30.25), [], [told])


@both_modes
def test_what_does_not_matter(tmp_path: Path, mode: Mode):
    contents = {
        "a byte order mark": b"\xef\xbb\xbf" + WHOLE.encode(),
        "CRLF": WHOLE.replace("\n", "\r\n"),
        "quotes": WHOLE.replace("0.75", '"0.75"'),
        "quoted commas": WHOLE.replace("\n", ',"a ""note"", with a comma"\n'),
        "blank lines": WHOLE.replace("\n", "\n\n"),
        "1 MB": WHOLE.replace("\n", "," + "x" * 1_000_000 + "\n"),
        "1 MB in quotes": WHOLE.replace("\n", ',"' + "x" * 1_000_000 + '"\n'),
        "NUL": WHOLE.replace("\n", ",\0\n"),
    }
    found = scored_all(tmp_path, list(contents.values()), mode)
    for name, result in zip(contents, found, strict=True):
        assert result == (30.25, [], []), name


@both_modes
def test_an_unclosed_quote_costs_at_most_its_own_row(tmp_path: Path, mode: Mode):
    """A csv reader of the whole file would swallow all that follows."""
    time, scores = scored(tmp_path, HEADER + '1,1,"0.1\n' + "".join(ROWS), mode)
    assert time == 30.25
    assert len(scores.curves.query("submission == 'a'")) >= 4


@both_modes
@pytest.mark.parametrize("row", ["1,0,0.9\n", "1,-5,0.9\n", "1,-0.0,0.9\n"])
def test_no_evaluation_takes_no_time(tmp_path: Path, row: str, mode: Mode):
    """Or less than none: ratios to it would be infinite, NaN or below 0, for everyone."""
    time, scores = scored(tmp_path, HEADER + row + "".join(ROWS), mode)
    assert time == 30.25
    assert scores.scores["b"] == pytest.approx(1.0)
    (line,) = scores.left_out
    assert line.startswith(f"{FILE}: row 2: ")


def test_many_broken_files_are_told_one_by_one(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1, 1, 1]})
    contents = ["", HEADER, HEADER + "1,x,0.9\n", HEADER + "1,1,0.9", HEADER + "1,1,0.9\n"]
    for study, content in enumerate(contents):
        write_csv(trial_dir(tmp_path, "a", study=study), content)
    scores = score_tree(tmp_path, baselines=())
    for study in range(4):
        name = f"a/study_{study}/toy_jax/trial_1/eval_measurements.csv: "
        assert any(line.startswith(name) for line in scores.left_out)
    assert not any("study_4" in line for line in scores.left_out)
    assert scores.table["reached"].tolist() == [1]


def test_the_same_contents_in_two_studies_are_two_studies(tmp_path: Path):
    """Equal files are not taken for copies: short runs on a grid of evaluations may well agree."""
    race(tmp_path, {"a": [2, 2, 99]})
    scores = score_tree(tmp_path, baselines=())
    assert scores.by_workload("time_to_target").at["a", "toy"] == 20.0
    assert scores.table["reached"].tolist() == [2]


def test_everything_wrong_at_once(tmp_path: Path):
    content = (
        HEADER
        + ROWS[0]
        + "1,2\n"
        + ROWS[0]
        + "x,y,z\n"
        + "300,30,nan\n"
        + HEADER
        + "inf,1,0.9\n"
        + "200,40,0.9\n"
        + "500,50,0.9"
    )
    time, scores = scored(tmp_path, content)
    assert time == 40.0
    told = [line.removeprefix(f"{FILE}: ") for line in scores.warnings]
    assert {line.split(":")[0].split(" has")[0] for line in told if line.startswith("row")} == {
        *("row 3", "row 4", "row 5", "row 6", "row 7", "row 8", "row 9", "row 10"),
    }


def test_the_target_itself_counts(tmp_path: Path):
    time, scores = scored(tmp_path, f"{HEADER}1,5,{TARGET - 1e-12!r}\n2,10,{TARGET!r}\n")
    assert time == 10.0
    assert scores.warnings == ()
