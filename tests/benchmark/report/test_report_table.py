"""The table in the terminal."""

import io
from pathlib import Path

import pytest
from log_trees import gold, hits_at, race, realistic_race, trial_dir, write_trial
from rich.console import Console

from benchmark.report import print_table
from benchmark.report.table import columns, groups
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


def test_the_official_logs_fit_into_100_columns_unfolded():
    scores = score_tree(gold() / "a100_self" / "logs", baselines=("nadamw_baselinev05",))
    lines = printed(scores)
    assert max(map(len, lines)) <= 100
    (line,) = [line for line in lines if line.startswith("schedule_free_adamw_v2")]
    assert line.split()[:5] == ["schedule_free_adamw_v2", "criteo1tb", "3", "of", "3"]
    assert sum(" librispeech_conformer " in line for line in lines) == 6


def test_without_a_terminal_the_table_is_100_wide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "40")
    scores = score_tree(race(tmp_path, {"adamw": [2], "shampoo": [1]}))
    print_table(scores)
    out = capsys.readouterr().out
    assert any("shampoo" in line and "1.0000" in line for line in out.splitlines())
