"""Reading log trees, whole and broken."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from log_trees import METRIC, TARGET, race, trial_dir, write_trial

from benchmark.errors import UserError
from benchmark.scoring.evals import read_evals
from benchmark.scoring.logs import TrialDir, find_trials, read_trial
from benchmark.scoring.selection import select_trials
from benchmark.scoring.targets import Target

TARGETS = {"toy": Target("toy", METRIC, TARGET)}
HEADER = f"global_step,score,validation/{METRIC}\n"


def test_finds_trials_and_nothing_else(tmp_path: Path):
    race(tmp_path, {"b": [1, 1], "a": [1]})
    folder = trial_dir(tmp_path, "a")
    for ignored in (
        folder.with_name("interrupted_trial_1_1"),
        folder.with_name("trial_x"),
        folder.parent.with_name("toy_tensorflow") / "trial_1",
        folder.parent.with_name("toy") / "trial_1",
        tmp_path / "a" / "study_one" / "toy_jax" / "trial_1",
        tmp_path / "report" / "plots",
    ):
        write_trial(ignored, [1.0])
    (tmp_path / "scores.csv").write_text("")
    found = find_trials(tmp_path)
    assert [(f.submission, f.workload, f.framework, f.study, f.trial) for f in found] == [
        ("a", "toy", "jax", 0, 1),
        ("b", "toy", "jax", 0, 1),
        ("b", "toy", "jax", 1, 1),
    ]
    assert found[0].name == "a/study_0/toy_jax/trial_1"
    assert found[0].path == folder


def test_trials_are_in_the_order_of_their_numbers(tmp_path: Path):
    for trial in (10, 2, 1):
        write_trial(trial_dir(tmp_path, "a", trial=trial), [1.0])
    assert [found.trial for found in find_trials(tmp_path)] == [1, 2, 10]


def test_workload_names_may_hold_underscores_and_framework_names(tmp_path: Path):
    write_trial(tmp_path / "a" / "study_0" / "jax_small_pytorch" / "trial_1", [1.0])
    (found,) = find_trials(tmp_path)
    assert (found.workload, found.framework) == ("jax_small", "pytorch")


def read_csv(tmp_path: Path, text: str | None) -> tuple[list[list[float]], list[str]]:
    """step, time and value of the evaluations in a file with this text, and the warnings."""
    folder = trial_dir(tmp_path, "a")
    folder.mkdir(parents=True, exist_ok=True)
    if text is not None:
        (folder / "eval_measurements.csv").write_text(text)
    warnings: list[str] = []
    evals = read_evals(find_trials(tmp_path), TARGETS, tmp_path, warnings)
    return evals[["step", "time", "value"]].to_numpy().tolist(), warnings


FILE = "a/study_0/toy_jax/trial_1/eval_measurements.csv"


def test_reads_numbers_exactly(tmp_path: Path):
    text = HEADER + "1,0.1234567890123456789,0.30000000000000004\n2,1e3,1e-7\n"
    rows, warnings = read_csv(tmp_path, text)
    assert rows == [[1.0, 0.1234567890123456789, 0.30000000000000004], [2.0, 1000.0, 1e-7]]
    assert warnings == []


def test_other_columns_may_hold_anything(tmp_path: Path):
    text = HEADER.strip() + ",note\n1,10,0.5,fine\n2,20,0.6,\n"
    assert read_csv(tmp_path, text) == ([[1, 10, 0.5], [2, 20, 0.6]], [])


@pytest.mark.parametrize(
    ("text", "steps", "warning"),
    [
        (None, [], f"{FILE}: No such file or directory; the trial counts as not reached"),
        ("", [], f"{FILE}: no column global_step and no column score and no column"),
        (HEADER, [], f"{FILE}: no rows; the trial counts as not reached"),
        ("global_step,score\n1,2\n", [], f"{FILE}: no column validation/{METRIC}; the trial"),
        (HEADER + "1,10,0.1\n2,20,0.2", [1], f"{FILE}: row 3 has no line end (cut off?)"),
        (HEADER + "1,10,0.1\n2,20\n3,30,0.3\n", [1, 3], f"{FILE}: row 3: wrong number of cells"),
        (HEADER + "1,10,0.1,7\n3,30,0.3\n", [3], f"{FILE}: row 2: wrong number of cells"),
        (HEADER + "1,10,0.1\n2,x,0.2\n", [1], f"{FILE}: row 3: a cell is not a number; row ign"),
        (HEADER + "1,10,0.1\n" + HEADER, [1], f"{FILE}: row 3: a cell is not a number; row ign"),
        (HEADER + "1,,0.1\n2,20,0.2\n", [2], f"{FILE}: row 2: global_step or score is not fin"),
        (HEADER + "1,inf,0.1\n2,20,0.2\n", [2], f"{FILE}: row 2: global_step or score is not f"),
        (HEADER + "2,20,0.1\n1,30,0.2\n", [2, 1], f"{FILE}: row 3: step or time goes back; row k"),
        (HEADER + "1,20,0.1\n2,10,0.2\n", [1, 2], f"{FILE}: row 3: step or time goes back; row k"),
        (HEADER + "x,1,1\n" * 3, [], f"{FILE}: row 2 and 2 more: a cell is not a number"),
    ],
)
def test_broken_files_give_a_warning_and_the_rest(
    tmp_path: Path, text: str | None, steps: list[int], warning: str
):
    rows, warnings = read_csv(tmp_path, text)
    assert [row[0] for row in rows] == steps
    (told,) = warnings
    assert told.startswith(warning)


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1, 0.2])
    path = folder / "eval_measurements.csv"
    path.write_bytes(path.read_bytes().replace(b"0.1", b"\xff\xfe"))
    warnings: list[str] = []
    evals = read_evals(find_trials(tmp_path), TARGETS, tmp_path, warnings)
    assert list(evals["value"]) == [0.2]
    assert len(warnings) == 1
    assert "row 2: a cell is not a number" in warnings[0]


def test_empty_and_nan_metrics_are_kept_without_a_warning(tmp_path: Path):
    rows, warnings = read_csv(tmp_path, HEADER + "1,10,\n2,20,nan\n3,30,inf\n")
    assert [row[0] for row in rows] == [1, 2, 3]
    assert np.isnan([rows[0][2], rows[1][2]]).all()
    assert rows[2][2] == math.inf
    assert warnings == []


def test_compile_time_is_read_where_logged(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.1, 0.2], compile_time=2.5)
    write_trial(trial_dir(tmp_path, "b"), [0.1], compile_time=None)
    evals = read_evals(find_trials(tmp_path), TARGETS, tmp_path, [])
    assert list(evals.query("submission == 'a'")["compile_time"]) == [2.5, 2.5]
    assert np.isnan(evals.query("submission == 'b'")["compile_time"]).all()


def test_margins_are_signed_by_the_metric(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "up"), [0.5, 0.9, "nan", "inf"], metric="accuracy")
    write_trial(trial_dir(tmp_path, "a", "down"), [0.5, 0.9, "nan", "-inf"], metric="wer")
    targets = {"up": Target("up", "accuracy", 0.9), "down": Target("down", "wer", 0.9)}
    evals = read_evals(find_trials(tmp_path), targets, tmp_path, []).set_index("workload")
    assert list(evals.loc["up", "margin"])[:2] == [0.5 - 0.9, 0.0]
    assert list(evals.loc["down", "margin"])[:2] == [0.9 - 0.5, 0.0]
    # Neither NaN nor an infinite value may ever count as reached.
    assert evals.groupby("workload")["margin"].apply(lambda m: m.isna().sum()).tolist() == [2, 2]


def test_no_trials_give_an_empty_table_with_all_columns(tmp_path: Path):
    evals = read_evals([], TARGETS, tmp_path, [])
    assert len(evals) == 0
    assert {"submission", "step", "time", "value", "margin", "compile_time"} <= set(evals.columns)


def read_one(tmp_path: Path) -> tuple[TrialDir, list[str], dict]:
    (where,) = find_trials(tmp_path)
    warnings: list[str] = []
    trial = read_trial(where, tmp_path, warnings)
    return where, warnings, {k: getattr(trial, k) for k in ("meta", "flags", "hparams", "result")}


def test_json_files_beside_the_csv(tmp_path: Path):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1], meta={"rng_seed": 1})
    (folder / "meta_data_2.json").write_text(json.dumps({"rng_seed": 2}))
    (folder / "meta_data_10.json").write_text(json.dumps({"rng_seed": 10}))
    (folder / "meta_data_x.json").write_text("not JSON")
    _, warnings, read = read_one(tmp_path)
    assert warnings == []
    assert read["meta"] == {"rng_seed": 10}  # the last, by number
    assert read["hparams"] == {"learning_rate": 0.001}
    assert read["flags"] == {"tuning_ruleset": "external"}
    assert read["result"]["reason"] == "targets_reached"


def test_absent_json_files_are_empty(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.1], meta=None, result=False)
    _, warnings, read = read_one(tmp_path)
    assert warnings == []
    assert read == {"meta": {}, "flags": {}, "hparams": {}, "result": {}}


@pytest.mark.parametrize("text", ['{"rng_seed": ', "[1, 2]", "\ud800"])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, text: str):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1])
    content = text.encode("utf-8", "surrogatepass")
    (folder / "meta_data_0.json").write_bytes(content)
    _, warnings, read = read_one(tmp_path)
    assert read["meta"] == {}
    (warning,) = warnings
    assert warning.startswith("a/study_0/toy_jax/trial_1/meta_data_0.json: ")
    assert "ignored" in warning


def test_an_alias_is_the_workload_that_it_stands_for(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", "c4_130m", study=0), [1.0])
    write_trial(trial_dir(tmp_path, "a", "c4", study=1), [1.0])
    found = find_trials(tmp_path)
    assert [(trial.workload, trial.study) for trial in found] == [("c4", 0), ("c4", 1)]
    assert found[0].path.parts[-2] == "c4_130m_jax"
    assert found[0].name == "a/study_0/c4_jax/trial_1"


def test_a_trial_under_both_names_is_refused(tmp_path: Path):
    paths = [trial_dir(tmp_path, "a", name) for name in ("c4_130m", "c4")]
    for path in paths:
        write_trial(path, [1.0])
    with pytest.raises(UserError) as caught:
        select_trials(tmp_path, None, None, None)
    assert str(caught.value).startswith(f"{paths[0]} and {paths[1]} are logs of one trial")
