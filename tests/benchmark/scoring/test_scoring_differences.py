"""Where the two modes give an entry different times, that is told, and why."""

import math
from pathlib import Path

import pytest
from log_trees import hits_at, race, trial_dir, write_trial

from benchmark.scoring import MODES, score_tree
from benchmark.scoring.differences import Difference

LOWEST_ROW = (
    "the script takes the trial that meets the target at the lowest row of its file, not the "
    "fastest: "
)
TIE = "where the script takes the first one that the file system happens to list"


def found(root: Path) -> tuple[Difference, ...]:
    """The differences, which do not depend on the mode that is shown."""
    by_mode = [score_tree(root, mode=mode, baselines=()) for mode in MODES]
    assert [str(d) for d in by_mode[0].differences] == [str(d) for d in by_mode[1].differences]
    for mode, scores in zip(MODES, by_mode, strict=True):
        times = scores.by_workload("time_to_target")
        for difference in scores.differences:
            shown = times.at[difference.submission, difference.workload]
            assert difference.times[mode] == pytest.approx(shown, nan_ok=True)
    return by_mode[0].differences


def test_no_difference_where_the_modes_agree(tmp_path: Path):
    race(tmp_path, {"a": [1, 2, 3], "b": [99, 99, 99], "c": [2, 99, 2]})
    assert found(tmp_path) == ()


def test_other_trials_with_the_same_time_are_no_difference(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(3), period=10.0)
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(2), period=15.0)
    assert found(tmp_path) == ()


def test_never_reached_is_no_difference_whether_evaluated_or_not(tmp_path: Path):
    race(tmp_path, {"a": [1, 1], "b": [99, 99]})
    trial_dir(tmp_path, "c").mkdir(parents=True)
    assert found(tmp_path) == ()


def test_a_lower_row_in_more_time(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "a", trial=1), hits_at(2), period=15.0)
    write_trial(trial_dir(tmp_path, "a", trial=2), hits_at(3), period=8.0)
    (difference,) = found(tmp_path)
    assert difference.times == {"fastest": 24.0, "official": 30.0}
    assert str(difference) == (
        "a, toy: 24 s by the rules (--mode=fastest), 30 s by the official script "
        f"(--mode=official): {LOWEST_ROW}"
        "trial_1 (evaluation 2, 30 s) instead of trial_2 (evaluation 3, 24 s) in study_0"
    )


def test_rows_that_tie(tmp_path: Path):
    for trial, period in ((1, 15.0), (2, 10.0)):
        write_trial(trial_dir(tmp_path, "a", study=4, trial=trial), hits_at(2), period=period)
    (difference,) = found(tmp_path)
    assert difference.why == (
        f"{LOWEST_ROW}trial_1 (evaluation 2, 30 s) instead of trial_2 (evaluation 2, 20 s) in "
        f"study_4; rows tie in study_4, {TIE}"
    )


def test_a_tie_at_another_row_than_the_lowest_is_none(tmp_path: Path):
    for trial, hit, period in ((1, 2, 15.0), (2, 3, 8.0), (3, 3, 9.0)):
        write_trial(trial_dir(tmp_path, "a", trial=trial), hits_at(hit), period=period)
    (difference,) = found(tmp_path)
    assert "tie" not in difference.why


def test_rows_out_of_order_in_one_file(tmp_path: Path):
    folder = write_trial(trial_dir(tmp_path, "a"), [0.1, 0.9, 0.9, 0.1])
    path = folder / "eval_measurements.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(rows[i] for i in (0, 2, 1, 3))]) + "\n")
    (difference,) = found(tmp_path)
    assert difference.times == {"fastest": 20.0, "official": 30.0}
    assert difference.why == (
        f"{LOWEST_ROW}trial_1 (evaluation 2, 30 s) instead of trial_1 (evaluation 3, 20 s) in "
        "study_0"
    )


def test_an_absent_study(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [1, 3], "c": [2]})
    b, c = found(tmp_path)
    dropped = "which the rules count as not reached and the script drops from the median"
    assert str(b) == (
        "b, toy: 30 s by the rules (--mode=fastest), 20 s by the official script "
        f"(--mode=official): of 3 studies 1 absent, {dropped}"
    )
    assert str(c) == (
        "c, toy: not reached by the rules (--mode=fastest), 20 s by the official script "
        f"(--mode=official): of 3 studies 2 absent, {dropped}"
    )
    assert c.times == {"fastest": math.inf, "official": 20.0}


def test_a_study_without_evaluations_is_an_absent_one(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [1, 3]})
    trial_dir(tmp_path, "b", study=2).mkdir(parents=True)
    (difference,) = found(tmp_path)
    assert difference.why.startswith("of 3 studies 1 absent, ")


def test_an_absent_study_that_changes_nothing_is_no_difference(tmp_path: Path):
    race(tmp_path, {"a": [1, 1, 1], "b": [2, 2]})
    assert found(tmp_path) == ()


def test_several_reasons_are_all_told(tmp_path: Path):
    race(tmp_path, {"other": [1, 1, 1, 1]})
    for study, periods in ((0, (15.0, 10.0)), (1, (15.0, 10.0)), (2, (10.0, 15.0))):
        for trial, period in enumerate(periods, 1):
            folder = trial_dir(tmp_path, "a", study=study, trial=trial)
            write_trial(folder, hits_at(2), period=period)
    (difference,) = found(tmp_path)
    assert difference.why.startswith("of 4 studies 1 absent, ")
    assert "in study_0, trial_1" in difference.why
    assert f"rows tie in study_0, study_1, {TIE}" in difference.why


def test_what_is_told_of_an_entry_does_not_depend_on_the_mode(tmp_path: Path):
    """A version's number of studies holds in the rules' reading, whichever mode is shown."""
    race(tmp_path, {"a": [1], "b": [1]}, "ogbg")
    by_mode = {
        mode: score_tree(tmp_path, targets="v0.6", mode=mode, baselines=(), integral="exact")
        for mode in MODES
    }
    fastest, official = by_mode["fastest"], by_mode["official"]
    assert [str(d) for d in official.differences] == [str(d) for d in fastest.differences]
    assert official.other_scores == fastest.scores
    assert fastest.other_scores == official.scores


def test_trials_beyond_the_versions_number_are_cut_for_the_rules_only(tmp_path: Path):
    """The script takes all trials that there are; so does what is told of it."""
    for name, best in (("a", 7), ("b", 1)):
        for trial in range(1, 8):
            folder = trial_dir(tmp_path, name, "ogbg", trial=trial)
            hit = 1 if trial == best else 3
            write_trial(folder, hits_at(hit, target=0.28098))
    by_mode = {
        mode: score_tree(
            tmp_path, targets="v0.6", mode=mode, num_studies=1, baselines=(), integral="exact"
        )
        for mode in MODES
    }
    times = {m: s.by_workload("time_to_target")["ogbg"].to_dict() for m, s in by_mode.items()}
    assert times == {"fastest": {"b": 10.0, "a": 30.0}, "official": {"a": 10.0, "b": 10.0}}
    assert by_mode["fastest"].other_scores == by_mode["official"].scores
    assert by_mode["official"].other_scores == by_mode["fastest"].scores
    told = [(d.submission, dict(d.times)) for d in by_mode["fastest"].differences]
    assert told == [("a", {"fastest": 30.0, "official": 10.0})]
