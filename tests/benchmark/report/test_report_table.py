"""The table in the terminal."""

import io
from pathlib import Path

import pytest
from log_trees import META, gold, hits_at, race, realistic_race, trial_dir, write_trial
from rich.console import Console

from benchmark.report import print_table
from benchmark.report.entries import columns, groups
from benchmark.report.table import MOST_ROWS
from benchmark.scoring import Scores, score_tree


def printed(scores: Scores, width: int = 100) -> list[str]:
    out = io.StringIO()
    print_table(scores, Console(file=out, width=width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_table_of_a_race(tmp_path: Path):
    race(tmp_path, {"adamw": [4, 4, 5], "shampoo": [2, 3, 3], "asgo": [99, 99, 1]})
    assert printed(score_tree(tmp_path)) == [
        "submission workload reached steps to  time to  time / time / compile AlgoPerf   best",
        "                              target target s shampoo  adamw       s    score valid.",
        "─" * 84,
        "shampoo    toy       3 of 3      300     30.0    1.00   0.75    1.50   1.0000 0.7600",
        "adamw      toy       3 of 3      400     40.0    1.33   1.00    1.50   0.8889 0.7400",
        "asgo       toy       1 of 3        -        -       -      -    1.50   0.0000 0.7700",
        "toy: validation mean_average_precision ≥ 0.7, budget 60 s",
        "Of 3 studies: no ranking, which takes 5 and ranges that do not overlap",
    ]


@pytest.mark.parametrize(("studies", "told"), [(1, "Of one study: "), (4, "Of 4 studies"), (5, "")])
def test_few_studies_rank_nothing_and_the_table_says_so(tmp_path: Path, studies: int, told: str):
    race(tmp_path, {"a": [1] * studies, "b": [2] * studies})
    last = printed(score_tree(tmp_path, baselines=(), num_studies=studies))[-1]
    assert last.startswith(told or "toy: validation")


def test_one_submission_alone_is_no_ranking_to_warn_of(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    assert printed(score_tree(tmp_path, baselines=()))[-1].startswith("toy: validation")


def test_rows_of_a_submission_stand_together(tmp_path: Path):
    for workload, hits in (("one", {"a": [2], "b": [1]}), ("two", {"a": [3], "b": [1]})):
        race(tmp_path, hits, workload)
    lines = printed(score_tree(tmp_path, baselines=("a",)))
    names = [line.split()[0] for line in lines[3:] if line.strip()]
    assert names == ["b", "two", "a", "two", "one:", "two:", "Of"]


def test_groups_tell_a_submissions_score_once(tmp_path: Path):
    for workload in ("one", "two"):
        race(tmp_path, {"a": [1], "b": [2]}, workload)
    shown = columns(score_tree(tmp_path, baselines=()))
    score = [column.name for column in shown].index("AlgoPerf score")
    found = [[(row[0], row[1], row[score]) for row in group] for group in groups(shown)]
    assert found == [
        [("a", "one", "1.0000"), ("", "two", "")],
        [("b", "one", "0.6667"), ("", "two", "")],
    ]


def test_columns_with_nothing_to_tell_are_left_out(tmp_path: Path):
    write_trial(trial_dir(tmp_path, "shampoo"), hits_at(1), compile_time=None)
    names = [column.name for column in columns(score_tree(tmp_path))]
    assert "time / shampoo" in names
    assert "time / adamw" not in names
    assert "compile s" not in names


def test_the_reports_columns_tell_the_spread_over_studies(tmp_path: Path):
    race(tmp_path, {"adamw": [4, 4, 5], "asgo": [99, 2, 1], "never": [99, 99, 2]})
    shown = {column.name: column.cells for column in columns(score_tree(tmp_path), spread=True)}
    assert shown["fastest to slowest s"] == ["10.0 to never", "40.0 to 50.0", "20.0 to never"]
    assert shown["time / adamw"][1] == "1.00"
    assert shown["no credit"] == ["", "", "not reached"]
    assert "AlgoPerf score" not in shown


def test_one_study_has_no_spread(tmp_path: Path):
    scores = score_tree(race(tmp_path, {"adamw": [4]}))
    shown = {column.name: column.cells for column in columns(scores, spread=True)}
    assert "fastest to slowest s" not in shown
    assert shown["time / adamw"] == ["1.00"]


def test_every_number_column_is_explained(tmp_path: Path):
    for column in columns(score_tree(realistic_race(tmp_path))):
        assert bool(column.meaning) == column.numeric


def test_an_unknown_budget_is_not_told(tmp_path: Path):
    meta = {
        "workload.target_metric_name": "wer",
        "workload.validation_target_value": 0.25,
    }
    write_trial(trial_dir(tmp_path, "a"), [0.2], metric="wer", meta=meta)
    assert printed(score_tree(tmp_path, baselines=()))[-1] == "toy: validation wer ≤ 0.25"


def test_names_are_folded_never_cut_and_numbers_stay_whole(tmp_path: Path):
    name, workload = "a_submission_with_quite_a_long_name", "imagenet_resnet_large_bn_init"
    race(tmp_path, {name: [1], "b": [1]}, workload)
    lines = printed(score_tree(tmp_path, baselines=(name, "b")))
    assert max(map(len, lines)) <= 100
    (first,) = [i for i, line in enumerate(lines) if line.startswith("a_sub")]
    names, workloads, *numbers = lines[first].split()
    assert numbers == ["1", "of", "1", "100", "10.0", "1.00", "1.00", "1.50", "1.0000", "0.7700"]
    second_column = lines[first].index(workloads)
    for line in lines[first + 1 : -1]:
        if line.startswith("b "):
            break
        names += line[:second_column].strip()
        workloads += line[second_column:].strip()
    assert (names, workloads) == (name, workload)


def test_official_logs_fit_into_100_columns_unfolded():
    names = ("schedule_free_adamw_v2", "ademamix", "nadamw_baselinev05", "nadamw")
    root = gold() / "a100_self" / "logs"
    scores = score_tree(root, baselines=("nadamw_baselinev05",), submissions=names)
    lines = printed(scores)
    assert max(map(len, lines)) <= 100
    (line,) = [line for line in lines if line.startswith("schedule_free_adamw_v2")]
    assert line.split()[:5] == ["schedule_free_adamw_v2", "criteo1tb", "3", "of", "3"]
    assert sum(" librispeech_conformer " in line for line in lines) == len(names)


def large_race(root: Path, submissions: int = MOST_ROWS + 1) -> Path:
    """More entries than are printed; the n-th meets the target at the n-th evaluation."""
    for i in range(submissions):
        values = hits_at(i + 1, of=submissions + 1)
        write_trial(trial_dir(root, f"submission_number_{i:02}"), values)
    return root


def test_of_many_entries_the_leaderboard_is_printed(tmp_path: Path):
    baselines = ("submission_number_01", "submission_number_03")
    lines = printed(score_tree(large_race(tmp_path), baselines=baselines))
    assert max(map(len, lines)) <= 100
    (third,) = [line for line in lines if "submission_number_02" in line]
    # 30 s against 20 s and 40 s.
    assert third.split() == [
        *("3", "submission_number_02", "0.3333", "1"),
        *("0.67", "0.67", "(1)", "1.33", "1.33", "(1)"),
    ]
    assert sum("submission_number_" in line for line in lines) >= MOST_ROWS + 1
    assert f"All {MOST_ROWS + 1} times to target are in the report." in lines


def test_of_as_many_entries_as_fit_every_one_is_printed(tmp_path: Path):
    lines = printed(score_tree(large_race(tmp_path, MOST_ROWS), baselines=()))
    assert lines[0].split()[:2] == ["submission", "workload"]
    assert not any("in the report" in line for line in lines)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_leaderboard_fits_with_any_number_of_baselines(tmp_path: Path, count: int):
    baselines = [f"submission_number_{i:02}" for i in range(count)]
    lines = printed(score_tree(large_race(tmp_path), baselines=baselines))
    assert max(map(len, lines)) <= 100
    assert ("Speed-up: geometric mean" in " ".join(lines)) == (count > 0)


def differing(root: Path, submissions: int) -> Scores:
    """Of each the script takes the trial with the lower row, which is the slower one."""
    for i in range(submissions):
        write_trial(trial_dir(root, f"s{i}", trial=1), hits_at(2), period=30.0)
        write_trial(trial_dir(root, f"s{i}", trial=2), hits_at(3), period=10.0)
    return score_tree(root, baselines=())


def test_entries_that_differ_between_the_modes_are_counted(tmp_path: Path):
    text = "\n".join(printed(differing(tmp_path, 4)))
    assert "4 entries differ between the rules and the official script: see the report" in text
    assert "s0, toy: 30 s by the rules" in text
    assert "s1, toy: 30 s by the rules" in text
    assert "s2, toy: " not in text


def test_one_entry_that_differs(tmp_path: Path):
    text = "\n".join(printed(differing(tmp_path, 1)))
    assert "1 entry differs between the rules and the official script: see the report" in text


def test_mixed_runs_are_marked(tmp_path: Path):
    race(tmp_path, {"a": [1]})
    other = {**META, "cpu_model_name": "Another CPU"}
    write_trial(trial_dir(tmp_path, "b"), hits_at(1), meta=other)
    text = " ".join(printed(score_tree(tmp_path, baselines=(), allow_mixed=True)))
    assert "MIXED, times do not compare: different hardware: Another CPU" in text


def test_without_a_terminal_the_table_is_100_wide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "40")
    scores = score_tree(race(tmp_path, {"adamw": [2], "shampoo": [1]}))
    print_table(scores)
    out = capsys.readouterr().out
    assert any("shampoo" in line and "1.0000" in line for line in out.splitlines())
