"""Comparisons: which runs they have, what is checked first, what is kept."""

import dataclasses
import json
import os

import pytest
from fakes import in_process, repository
from fakes.reports import RecordingReporter

from benchmark import compare, cores, runs, trial_folder
from benchmark.compare import Comparison
from benchmark.errors import UserError
from benchmark.runs import PlannedRun


@pytest.fixture
def comparison(fake_root, tmp_path):
    return Comparison(
        submissions=("fast", "slow"),
        workloads=("quadratic",),
        framework="jax",
        experiment_dir=str(tmp_path / "experiments"),
        experiment_name="race",
        data_dir=str(fake_root / "data"),
        eval_every_steps=5,
        max_global_steps=200,
    )


def change(comparison, **values):
    return dataclasses.replace(comparison, **values)


def labels(planned: list[PlannedRun]) -> list[str]:
    return [run.label for run in planned]


def execute(comparison, planned, place) -> tuple[dict[str, str], RecordingReporter]:
    reporter = RecordingReporter()
    return runs.execute(planned, comparison.jobs, reporter, place), reporter


def test_one_run_per_submission_study_and_trial_in_algoperfs_layout(comparison, fake_root):
    many = change(comparison, submissions=("fast",), num_studies=2, num_tuning_trials=2, rng_seed=7)
    planned = compare.plan_comparison(many, repository.place(fake_root))
    assert labels(planned) == [
        f"fast study {study} trial {trial}" for study in (0, 1) for trial in (1, 2)
    ]
    root = many.path / "fast"
    assert [run.folder for run in planned] == [
        root / f"study_{study}" / "quadratic_jax" / f"trial_{trial}"
        for study in (0, 1)
        for trial in (1, 2)
    ]
    assert [run.options.rng_seed for run in planned] == [7, 7, 8, 8]
    assert [run.options.hparam_start_index for run in planned] == [0, 1, 0, 1]
    assert [run.options.hparam_end_index for run in planned] == [1, 2, 1, 2]
    assert planned[0].options.tuning_search_space.endswith("tuning_search_spaces/fast.json")
    assert not any(run.finished for run in planned)


def test_every_submission_of_a_study_has_the_same_seed(comparison, fake_root):
    many = change(comparison, num_studies=3, rng_seed=2)
    planned = compare.plan_comparison(many, repository.place(fake_root))
    assert labels(planned) == [
        f"{name} study {study}" for study in range(3) for name in ("fast", "slow")
    ]
    assert [run.options.rng_seed for run in planned] == [2, 2, 3, 3, 4, 4]


def test_labels_are_no_longer_than_they_need_to_be(comparison, fake_root):
    assert labels(compare.plan_comparison(comparison, repository.place(fake_root))) == [
        "fast",
        "slow",
    ]


def test_all_stands_for_every_submission_and_names_count_once(comparison, fake_root):
    for asked, found in (
        (("all",), ["fast", "slow"]),
        (("slow", "fast", "slow"), ["slow", "fast"]),
    ):
        assert compare.submission_names(change(comparison, submissions=asked), fake_root) == found


def test_self_tuning_passes_no_search_space(comparison, fake_root):
    own = change(comparison, tuning_ruleset="self")
    options = compare.plan_comparison(own, repository.place(fake_root))[0].options
    assert options.tuning_search_space is None
    assert options.tuning_ruleset == "self"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"submissions": ("fast", "fsat")},
            "unknown submission 'fsat' for --framework=jax; allowed: fast, slow, all",
        ),
        ({"framework": "pytorch"}, "unknown submission 'fast' for --framework=pytorch"),
        ({"workloads": ("quadratic", "ogbg")}, "unknown workload 'ogbg'; allowed: quadratic"),
        ({"num_studies": 0}, "--num_studies=0; allowed: >= 1"),
        ({"jobs": 0}, "--jobs=0; allowed: >= 1"),
        ({"num_tuning_trials": 2}, "slow.json: 1 point, fewer than --num_tuning_trials=2"),
        ({"tuning_ruleset": "self", "num_tuning_trials": 2}, "allowed with --tuning_ruleset=self"),
        ({"rng_seed": 2**32 - 1, "num_studies": 2}, "--rng_seed=4294967296; allowed"),
    ],
)
def test_mistakes_are_told_before_the_first_run(comparison, fake_root, values, told):
    with pytest.raises(UserError) as caught:
        compare.plan_comparison(change(comparison, **values), repository.place(fake_root))
    assert told in str(caught.value)
    assert not comparison.path.exists()


def test_a_mistake_in_the_last_submissions_search_space_stops_the_first(comparison, fake_root):
    (fake_root / "tuning_search_spaces" / "slow.json").write_text('[{"momentum": 0.1}]')
    with pytest.raises(UserError, match=r"slow.json, point 1: no hyperparameter 'momentum'"):
        compare.plan_comparison(comparison, repository.place(fake_root))


def test_a_comparison_end_to_end_then_again_then_with_other_settings(comparison, fake_root):
    """One whole round with child processes: run, keep, take up an interruption, refuse."""
    place = repository.place(fake_root)
    planned = compare.plan_comparison(comparison, place)
    failed, reporter = execute(comparison, planned, place)
    assert failed == {}
    assert {label for label, _ in reporter.ends} == {"data", "fast", "slow"}
    results = {run.label: trial_folder.read_result(run.folder) for run in planned}
    assert results["fast"].global_step < results["slow"].global_step
    used = {
        json.loads((run.folder / "meta_data_0.json").read_text())["cpu_cores_used"]
        for run in planned
    }
    assert used == {1}

    # One was interrupted: only that one runs again, and its log is kept.
    (planned[0].folder / "result.json").unlink()
    again = compare.plan_comparison(comparison, place)
    assert [run.finished for run in again] == [False, True]
    failed, reporter = execute(comparison, again, place)
    assert failed == {}
    assert [note for note in reporter.notes if note.startswith("slow: finished before and kept")]
    aside = planned[0].folder.with_name("interrupted_trial_1_1")
    assert (aside / "INTERRUPTED").exists()
    assert f"fast: an unfinished run was set aside as {aside}" in reporter.notes
    first, second = (
        (folder / "eval_measurements.csv").read_text().splitlines()
        for folder in (aside, planned[0].folder)
    )
    assert len(first) == len(second)

    # All finished: nothing runs.
    done = compare.plan_comparison(comparison, place)
    assert all(run.finished for run in done)
    before = [(run.folder / "result.json").stat().st_mtime_ns for run in done]
    assert execute(comparison, done, place)[0] == {}
    assert before == [(run.folder / "result.json").stat().st_mtime_ns for run in done]

    for values, told in (
        ({"rng_seed": 1}, "rng_seed=0, not 1"),
        ({"eval_every_steps": 7}, "eval_every_steps=5, not 7"),
        ({"tuning_ruleset": "self"}, "hyperparameters.delay=0.0, not None"),
    ):
        with pytest.raises(UserError, match=told):
            compare.plan_comparison(change(comparison, **values), place)
        overwriting = change(comparison, overwrite=True, **values)
        assert not any(run.finished for run in compare.plan_comparison(overwriting, place))


def test_a_failed_run_does_not_stop_the_others_and_is_run_again(comparison, fake_root):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"learning_rate": 0.1, "fail_at": 3}]')
    place = repository.place(fake_root)
    planned = compare.plan_comparison(comparison, place)
    failed = in_process.execute(planned, 1, RecordingReporter(), place)
    assert failed == {"fast": "FloatingPointError: the loss is not finite"}
    assert trial_folder.read_result(planned[0].folder).reason == "error"
    assert trial_folder.read_result(planned[1].folder).reason == "targets_reached"
    assert [run.finished for run in compare.plan_comparison(comparison, place)] == [False, True]


def test_more_jobs_than_cores_are_said_and_cut(comparison, fake_root, monkeypatch):
    monkeypatch.setattr(cores, "available", lambda: sorted(os.sched_getaffinity(0))[:1])
    used = []
    monkeypatch.setattr(runs.children, "run_all", lambda jobs, cores, _: used.append(cores) or {})
    place = repository.place(fake_root)
    planned = compare.plan_comparison(comparison, place)
    _, reporter = execute(change(comparison, jobs=8), planned, place)
    assert len(used[0]) == 1
    assert [note for note in reporter.notes if note.startswith("--jobs=8, but only 1 cores")]
