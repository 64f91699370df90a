"""From evaluations to times: trial, study, workload."""

import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_trees import METRIC, TARGET, hits_at, trial_dir, write_trial

from benchmark.scoring.evals import read_evals
from benchmark.scoring.logs import find_trials
from benchmark.scoring.targets import Target
from benchmark.scoring.time_to_target import median_over_studies, study_results, trial_results


def results(root: Path, metric: str = METRIC, target: float = TARGET) -> pd.DataFrame:
    folders = find_trials(root)
    evals = read_evals(folders, {"toy": Target("toy", metric, target)}, root, [])
    return trial_results(folders, evals)


def test_time_and_steps_are_those_of_the_first_hit(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a"), [0.1, 0.8, 0.2, 0.9])
    (row,) = results(tmp_path).to_dict("records")
    assert (row["time"], row["steps"]) == (20.0, 200.0)
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
def test_what_meets_a_target(tmp_path: Path, metric: str, values: list, time: float):
    write_trial(trial_dir(tmp_path, "a"), values, metric=metric)
    (row,) = results(tmp_path, metric, 0.7).to_dict("records")
    assert row["time"] == time
    assert row["steps"] == 10 * time


def test_a_trial_without_evaluations_is_a_row_of_its_own(tmp_path: Path):
    trial_dir(tmp_path, "a").mkdir(parents=True)
    write_trial(trial_dir(tmp_path, "b"), [0.9])
    table = results(tmp_path)
    assert list(table["time"]) == [math.inf, 10.0]
    assert list(table["steps"]) == [math.inf, 100.0]
    assert table["best"].isna().tolist() == [True, False]


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
    (row,) = study_results(results(tmp_path)).to_dict("records")
    assert (row["trial"], row["time"], row["compile_time"]) == (2, 240.0, 9.0)
    assert row["steps"] == 200.0  # trial 1 needed fewer steps
    assert row["best"] == pytest.approx(TARGET + 0.06)  # and got further


def test_of_trials_that_miss_the_closest_counts(tmp_path: Path):
    for trial, value in ((1, 0.3), (2, 0.6), (3, "nan"), (4, 0.5)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), [value])
    (row,) = study_results(results(tmp_path)).to_dict("records")
    assert (row["trial"], row["time"], row["best"]) == (2, math.inf, 0.6)
    (row,) = study_results(results(tmp_path, target=0.1)).to_dict("records")
    assert row["trial"] == 2  # all as fast: still the best one


def test_lower_is_better_for_the_closest_too(tmp_path: Path):
    for trial, value in ((1, 0.9), (2, 0.8)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), [value], metric="wer")
    (row,) = study_results(results(tmp_path, "wer", 0.1)).to_dict("records")
    assert (row["trial"], row["best"]) == (2, 0.8)


def test_studies_are_kept_apart(tmp_path: Path):
    for name in ("b", "a"):
        for study in (1, 0):
            write_trial(trial_dir(tmp_path, name, study=study), hits_at(1 + study))
    studies = study_results(results(tmp_path))
    rows = studies[["submission", "study", "time"]].to_numpy().tolist()
    assert rows == [["a", 0, 10.0], ["a", 1, 20.0], ["b", 0, 10.0], ["b", 1, 20.0]]


@pytest.mark.parametrize(
    ("values", "num_studies", "median"),
    [
        ([3.0, 1.0, 2.0], 3, 2.0),
        ([1.0, 2.0], 2, 1.5),
        ([1.0, math.inf], 2, math.inf),
        ([1.0, math.inf, 3.0], 3, 3.0),
        ([1.0, 3.0], 3, 3.0),  # an absent study is infinite
        ([1.0], 3, math.inf),
        ([], 1, math.inf),
        ([math.inf] * 4, 4, math.inf),
    ],
)
def test_medians(values: list[float], num_studies: int, median: float):
    assert median_over_studies(values, num_studies) == median


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=9), st.integers(0, 4))
def test_absent_studies_never_help(values: list[float], absent: int):
    whole = median_over_studies(values, len(values))
    assert median_over_studies(values, len(values) + absent) >= whole
    assert min(values) <= whole <= max(values)
