"""From evaluations to times: trial, study, workload."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_trees import METRIC, TARGET, hits_at, trial_dir, write_csv, write_trial

from benchmark.scoring.evals import read_evals
from benchmark.scoring.findings import Findings
from benchmark.scoring.logs import find_trials
from benchmark.scoring.targets import Target
from benchmark.scoring.time_to_target import (
    MODES,
    Mode,
    counted,
    median,
    study_results,
    trial_results,
)

both_modes = pytest.mark.parametrize("mode", MODES)


def results(
    root: Path, metric: str = METRIC, target: float = TARGET, mode: Mode = "fastest"
) -> pd.DataFrame:
    findings = Findings()
    folders = find_trials(root, findings)
    evals = read_evals(folders, {"toy": Target("toy", metric, target)}, root, findings)
    return trial_results(folders, evals, mode)


def study(root: Path, mode: Mode, **kwargs: Any) -> list[dict]:
    return study_results(results(root, mode=mode, **kwargs), mode).to_dict("records")


@both_modes
def test_time_and_steps_are_those_of_the_first_hit(tmp_path: Path, mode: Mode):
    write_trial(trial_dir(tmp_path, "a"), [0.1, 0.8, 0.2, 0.9])
    (row,) = results(tmp_path, mode=mode).to_dict("records")
    assert (row["time"], row["steps"], row["row"]) == (20.0, 200.0, 1.0)
    assert row["best"] == 0.9
    assert row["margin"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("metric", "values", "time"),
    [
        ("accuracy", [0.69999999, 0.7], 20.0),  # exactly the target counts
        ("accuracy", [0.69999999, 0.6999999999999999], math.inf),
        ("wer", [0.70000001, 0.7], 20.0),
        ("wer", [0.70000001, 0.7000000000000001], math.inf),
        ("accuracy", ["", 0.8], 20.0),  # NaN neither hits nor stops
        ("accuracy", ["inf", 0.1], math.inf),
        ("wer", ["-inf", 0.9], math.inf),
        ("wer", ["nan", "nan"], math.inf),
        ("accuracy", [0.9, 0.1], 10.0),  # the first evaluation counts
    ],
)
@both_modes
def test_what_meets_a_target(tmp_path: Path, mode: Mode, metric: str, values: list, time: float):
    write_trial(trial_dir(tmp_path, "a"), values, metric=metric)
    (row,) = results(tmp_path, metric, 0.7, mode).to_dict("records")
    assert row["time"] == time
    assert row["steps"] == 10 * time


@both_modes
def test_a_trial_without_evaluations_is_a_row_of_its_own(tmp_path: Path, mode: Mode):
    trial_dir(tmp_path, "a").mkdir(parents=True)
    write_trial(trial_dir(tmp_path, "b"), [0.9])
    write_trial(trial_dir(tmp_path, "c"), ["nan"])
    table = results(tmp_path, mode=mode)
    assert list(table["time"]) == [math.inf, 10.0, math.inf]
    assert list(table["steps"]) == [math.inf, 100.0, math.inf]
    assert list(table["row"]) == [math.inf, 0.0, math.inf]
    assert table["best"].isna().tolist() == [True, False, True]
    assert table["evaluated"].tolist() == [False, True, True]


def test_of_a_file_out_of_order_the_clock_or_the_row_is_first(tmp_path: Path):
    text = f"global_step,score,validation/{METRIC}\n300,30,0.9\n100,10,0.8\n200,20,0.1\n"
    write_csv(trial_dir(tmp_path, "a"), text)
    (fastest,), (official,) = (results(tmp_path, mode=mode).to_dict("records") for mode in MODES)
    assert (fastest["time"], fastest["steps"], fastest["row"]) == (10.0, 100.0, 1.0)
    assert (official["time"], official["steps"], official["row"]) == (30.0, 300.0, 0.0)


def test_compile_time_is_that_up_to_the_hit_else_to_the_end(tmp_path: Path):
    for name, values in {"hits": [0.1, 0.8, 0.9], "misses": [0.1, 0.2, 0.3]}.items():
        folder = write_trial(trial_dir(tmp_path, name), values)
        path = folder / "eval_measurements.csv"
        lines = path.read_text().splitlines()
        lines[1:] = [f"{i}.5," + line.partition(",")[2] for i, line in enumerate(lines[1:])]
        path.write_text("\n".join(lines) + "\n")
    assert list(results(tmp_path)["compile_time"]) == [1.5, 2.5]


def test_a_study_has_the_time_of_its_fastest_trial(tmp_path: Path):
    """Not of the trial with the fewest evaluations, as AlgoPerf's script has it."""
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(2), period=150.0)
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(3), period=80.0, compile_time=9.0)
    write_trial(trial_dir(tmp_path, "a", trial=3), hits_at(99))
    (row,) = study(tmp_path, "fastest")
    assert (row["trial"], row["time"], row["compile_time"]) == (2, 240.0, 9.0)
    assert row["steps"] == 200.0  # trial 1 needed fewer steps
    assert row["best"] == pytest.approx(TARGET + 0.06)  # and got further
    (row,) = study(tmp_path, "official")
    assert (row["trial"], row["time"], row["compile_time"]) == (1, 300.0, 1.5)
    assert row["steps"] == 200.0
    assert row["best"] == pytest.approx(TARGET + 0.06)


def test_on_a_tie_of_rows_the_first_name_counts_in_mode_official(tmp_path: Path):
    """As a sorted listing has it: trial_10 comes before trial_2."""
    for trial, period in ((2, 10.0), (10, 30.0), (3, 20.0)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), hits_at(2), period=period)
    (row,) = study(tmp_path, "official")
    assert (row["trial"], row["time"]) == (10, 60.0)
    (row,) = study(tmp_path, "fastest")
    assert (row["trial"], row["time"]) == (2, 20.0)


def test_the_fewest_steps_need_not_be_those_of_the_fastest_trial(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(4), period=5.0)
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(3), period=10.0)
    (row,) = study(tmp_path, "fastest")
    assert (row["trial"], row["time"], row["steps"]) == (1, 20.0, 300.0)
    (row,) = study(tmp_path, "official")
    assert (row["trial"], row["time"], row["steps"]) == (2, 30.0, 300.0)


@both_modes
def test_of_trials_that_miss_the_closest_counts(tmp_path: Path, mode: Mode):
    for trial, value in ((1, 0.3), (2, 0.6), (3, "nan"), (4, 0.5)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), [value])
    (row,) = study(tmp_path, mode)
    assert (row["trial"], row["time"], row["best"]) == (2, math.inf, 0.6)
    (row,) = study(tmp_path, mode, target=0.1)
    assert row["trial"] == 1  # all as fast: the first one
    assert row["best"] == 0.6


@both_modes
def test_lower_is_better_for_the_closest_too(tmp_path: Path, mode: Mode):
    for trial, value in ((1, 0.9), (2, 0.8)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), [value], metric="wer")
    (row,) = study(tmp_path, mode, metric="wer", target=0.1)
    assert (row["trial"], row["best"]) == (2, 0.8)


@both_modes
def test_a_study_is_evaluated_if_any_of_its_trials_is(tmp_path: Path, mode: Mode):
    trial_dir(tmp_path, "a", trial=1).mkdir(parents=True)
    write_trial(trial_dir(tmp_path, "a", trial=2), ["nan"])
    trial_dir(tmp_path, "a", study=1).mkdir(parents=True)
    assert [row["evaluated"] for row in study(tmp_path, mode)] == [True, False]


@both_modes
def test_studies_are_kept_apart(tmp_path: Path, mode: Mode):
    for name in ("b", "a"):
        for number in (1, 0):
            write_trial(trial_dir(tmp_path, name, study=number), hits_at(1 + number))
    studies = study_results(results(tmp_path, mode=mode), mode)
    rows = studies[["submission", "study", "time"]].to_numpy().tolist()
    assert rows == [["a", 0, 10.0], ["a", 1, 20.0], ["b", 0, 10.0], ["b", 1, 20.0]]


def by_study(*times: float | None) -> pd.DataFrame:
    """One entry's studies with these times; None: without any evaluation."""
    return pd.DataFrame(
        {
            "time": [math.inf if time is None else time for time in times],
            "evaluated": [time is not None for time in times],
        }
    )


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("times", "required", "fastest", "official"),
    [
        ([3.0, 1.0, 2.0], 3, 2.0, 2.0),
        ([1.0, 2.0], 2, 1.5, 1.5),
        ([1.0, INF], 2, INF, INF),
        ([1.0, INF, 3.0], 3, 3.0, 3.0),
        ([1.0, 3.0], 3, 3.0, 2.0),  # one absent
        ([1.0, 3.0, None], 3, 3.0, 2.0),  # there, but without any evaluation
        ([1.0], 3, INF, 1.0),
        ([None, None], 2, INF, NAN),
        ([], 1, INF, NAN),
        ([INF] * 4, 4, INF, INF),
        ([4.0, 2.0, 1.0, INF], 4, 3.0, 3.0),
    ],
)
def test_medians(times: list[float | None], required: int, fastest: float, official: float):
    found = [median(counted(by_study(*times), "time", required, mode)) for mode in MODES]
    assert found == pytest.approx([fastest, official], nan_ok=True)


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=9), st.integers(0, 4))
def test_absent_studies_never_help_by_the_rules(values: list[float], absent: int):
    studies = by_study(*values)
    whole = median(counted(studies, "time", len(values), "fastest"))
    required = len(values) + absent
    assert median(counted(studies, "time", required, "fastest")) >= whole
    assert median(counted(studies, "time", required, "official")) == whole
    assert min(values) <= whole <= max(values)
