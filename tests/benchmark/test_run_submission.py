"""One submission on one workload in this process: files, resuming, errors, determinism."""

import dataclasses
import itertools
import json
import logging

import numpy as np
import pandas as pd
import pytest
from fakes import repository
from fakes.fixtures import POINTS
from fakes.quadratic import QuadraticWorkload
from fakes.repository import SUBMISSION

import workloads_overrides
from benchmark import trial_folder
from benchmark.errors import UserError
from benchmark.run import prepare_data, run


@pytest.fixture
def options(fake_root, tmp_path):
    return repository.options(
        fake_root, tmp_path, experiment_name="study_0", eval_every_steps=5, max_global_steps=100
    )


@pytest.fixture
def folder(options, tmp_path):
    return tmp_path / "experiments" / "study_0" / "quadratic_jax" / "trial_1"


def change(options, **values):
    return dataclasses.replace(options, **values)


def read(path):
    return json.loads(path.read_text())


def test_a_run_leaves_algoperfs_files_and_a_result(options, folder, fake_root, reports):
    results = run(options, reports, fake_root)
    assert [result.reason for result in results] == ["targets_reached"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "eval_measurements.csv",
        "flags_0.json",
        "hparams.json",
        "measurements.csv",
        "meta_data_0.json",
        "result.json",
        "run.log",
    ]
    assert read(folder / "hparams.json") == POINTS[0]
    assert read(folder / "flags_0.json") == dataclasses.asdict(options)
    assert read(folder / "meta_data_0.json")["rng_seed"] == 5
    assert read(folder / "meta_data_0.json")["global_batch_size"] == 8
    assert read(folder / "meta_data_0.json")["workload.target_metric_name"] == "accuracy"
    assert read(folder / "result.json") == dataclasses.asdict(results[0])
    rows = pd.read_csv(folder / "eval_measurements.csv")
    assert rows["validation/accuracy"].iloc[-1] >= 0.9
    assert rows["global_step"].tolist()[:2] == [1, 5]
    assert reports.ends[-1] == ("trial_1", str(results[0]))
    assert {label for label, _, _ in reports.updates} == {"data", "trial_1"}


def test_the_log_says_what_happened(options, folder, fake_root, reports):
    handlers = list(logging.getLogger().handlers)
    run(options, reports, fake_root)
    log = (folder / "run.log").read_text()
    assert "rng_seed: 5" in log
    assert "targets_reached" in log
    assert logging.getLogger().handlers == handlers


def test_the_same_seed_gives_the_same_numbers_in_both_frameworks_each(
    options, fake_root, reports, tmp_path
):
    """Bit-identical losses and the same steps to target; another seed gives others."""
    (fake_root / "submissions" / "fast" / "pytorch").mkdir()
    path = "submissions/fast/pytorch/submission.py"
    (fake_root / path).write_text(SUBMISSION)
    for framework, submission_path in (("jax", options.submission_path), ("pytorch", path)):
        losses = {}
        for name, seed in (("first", 5), ("second", 5), ("other", 6)):
            values = {"framework": framework, "submission_path": submission_path}
            values |= {"experiment_name": name, "rng_seed": seed}
            run(change(options, **values), reports, fake_root)
            trial = tmp_path / "experiments" / name / f"quadratic_{framework}" / "trial_1"
            rows = pd.read_csv(trial / "measurements.csv")
            losses[name] = rows[["global_step", "loss", "validation/accuracy"]].to_numpy()
        np.testing.assert_array_equal(losses["first"], losses["second"])
        assert not np.array_equal(losses["first"][:2], losses["other"][:2])


def test_finished_trials_are_kept(options, folder, fake_root, reports):
    first = run(options, reports, fake_root)
    before = (folder / "result.json").stat()
    assert run(options, reports, fake_root) == first
    assert (folder / "result.json").stat() == before
    assert f"{folder} is finished and kept: {first[0]}" in reports.notes


def test_another_submission_is_refused_and_another_spelling_of_the_same_is_kept(
    options, folder, fake_root, reports
):
    path = options.submission_path
    absolute = str(fake_root / path)
    first = run(change(options, submission_path=absolute), reports, fake_root)
    assert read(folder / "flags_0.json")["submission_path"] == path
    before = (folder / "result.json").stat()
    assert run(options, reports, fake_root) == first
    assert run(change(options, submission_path=f"./{path}"), reports, fake_root) == first
    with pytest.raises(UserError, match=rf"submission_path={path}, not .*/slow/jax/submission.py"):
        run(change(options, submission_path=path.replace("fast", "slow")), reports, fake_root)
    assert (folder / "result.json").stat() == before


def test_a_trial_that_another_process_finishes_meanwhile_is_kept(
    options, folder, fake_root, reports, monkeypatch
):
    first = run(options, reports, fake_root)
    before = (folder / "result.json").stat()
    finished_with = trial_folder.finished_with
    looks = itertools.count()

    def not_yet_at_first(*arguments):
        return next(looks) > 0 and finished_with(*arguments)

    monkeypatch.setattr(trial_folder, "finished_with", not_yet_at_first)
    assert run(options, reports, fake_root) == first
    assert (folder / "result.json").stat() == before
    assert [note for note in reports.notes if "finished by another process" in note]


def test_more_trials_later_run_only_the_new_ones(options, folder, fake_root, reports):
    run(options, reports, fake_root)
    before = (folder / "result.json").stat()
    results = run(change(options, num_tuning_trials=2), reports, fake_root)
    assert len(results) == 2
    assert (folder / "result.json").stat() == before
    second = folder.with_name("trial_2")
    assert read(second / "hparams.json") == POINTS[1]


def test_other_settings_are_refused_before_training_and_overwritten_on_demand(
    options, folder, fake_root, reports
):
    run(options, reports, fake_root)
    other = change(options, rng_seed=6)
    with pytest.raises(UserError, match="rng_seed=5, not 6"):
        run(other, reports, fake_root)
    assert read(folder / "meta_data_0.json")["rng_seed"] == 5
    run(change(other, overwrite=True), reports, fake_root)
    assert read(folder / "meta_data_0.json")["rng_seed"] == 6
    assert [path.name for path in folder.parent.iterdir()] == ["trial_1"]


def test_an_interrupted_trial_is_set_aside_and_run_again(options, folder, fake_root, reports):
    run(options, reports, fake_root)
    (folder / "result.json").unlink()
    run(options, reports, fake_root)
    aside = folder.with_name("interrupted_trial_1_1")
    assert (aside / "eval_measurements.csv").exists()
    assert (aside / "INTERRUPTED").exists()
    assert (folder / "result.json").exists()
    assert f"an unfinished run was set aside as {aside}" in reports.notes


def test_an_error_in_training_is_a_result_with_its_traceback_in_the_log(
    options, folder, fake_root, reports
):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"learning_rate": 0.1, "fail_at": 3}, {"learning_rate": 0.1, "fail_at": 0}]')
    results = run(change(options, num_tuning_trials=2), reports, fake_root)
    assert [result.reason for result in results] == ["error", "targets_reached"]
    assert results[0].message == "FloatingPointError: the loss is not finite"
    assert results[0].global_step == 2
    log = (folder / "run.log").read_text()
    assert "Traceback" in log
    assert "submission.py" in log
    assert len(pd.read_csv(folder / "eval_measurements.csv")) == 1  # what was logged is kept


def test_an_interruption_leaves_no_result_and_a_free_folder(
    options, folder, fake_root, reports, monkeypatch
):
    from benchmark.trial import Trial

    step = Trial._step

    def interrupted(self, *arguments):
        if self.global_step == 7:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(Trial, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(options, reports, fake_root)
    assert not (folder / "result.json").exists()
    assert not (folder / "run.lock").exists()
    assert pd.read_csv(folder / "eval_measurements.csv")["global_step"].tolist() == [1, 5]


def test_without_a_seed_one_is_drawn_and_logged(options, folder, fake_root, reports):
    without = change(options, rng_seed=None)
    run(without, reports, fake_root)
    first = read(folder / "meta_data_0.json")["rng_seed"]
    run(without, reports, fake_root)  # kept: no seed agrees with every seed
    run(change(without, overwrite=True), reports, fake_root)
    assert first != read(folder / "meta_data_0.json")["rng_seed"]


def test_seed_0_is_a_seed(options, folder, fake_root, reports):
    """In the harness it means a random one."""
    run(change(options, rng_seed=0), reports, fake_root)
    assert read(folder / "meta_data_0.json")["rng_seed"] == 0


def test_self_tuning_writes_no_hyperparameters(options, folder, fake_root, reports, quadratic):
    own = change(options, tuning_ruleset="self", tuning_search_space=None)
    assert run(own, reports, fake_root)[0].reason == "targets_reached"
    assert not (folder / "hparams.json").exists()


def test_target_setting_runs_its_steps_whatever_the_targets(options, folder, fake_root, reports):
    setting = change(options, target_setting=True, max_global_steps=60, step_hint=60)
    result = run(setting, reports, fake_root)[0]
    assert (result.reason, result.global_step) == ("max_global_steps", 60)
    assert read(folder / "meta_data_0.json")["workload.step_hint"] == 60


def test_a_run_that_no_target_can_end_says_so(options, fake_root, reports, monkeypatch):
    told = "quadratic: its targets were not measured: no run ends at them"
    run(options, reports, fake_root)
    assert told not in reports.notes
    monkeypatch.setattr(QuadraticWorkload, "has_measured_targets", False)
    run(change(options, experiment_name="e", max_global_steps=3), reports, fake_root)
    assert told in reports.notes


def test_data_is_prepared_once_and_shown(options, fake_root, reports):
    run(options, reports, fake_root)
    assert (fake_root / "data" / "prepared").exists()
    assert ("data", 0.5, "downloading") in reports.updates
    run(change(options, experiment_name="again"), reports, fake_root)
    assert len([label for label, _ in reports.ends if label == "data"]) == 1


def test_a_package_that_only_the_preparation_needs_is_named(reports, monkeypatch):
    def prepare(*_):
        raise ModuleNotFoundError("No module named 'rdkit'", name="rdkit")

    monkeypatch.setattr(workloads_overrides, "prepare_data", prepare)
    with pytest.raises(UserError, match=r"for want of the package rdkit.*scripts/prepare_data.py"):
        prepare_data("ogbg_small", "data", reports)


def test_data_that_cannot_be_had_is_one_line_and_no_folder(options, fake_root, reports, tmp_path):
    with pytest.raises(UserError) as caught:
        run(change(options, data_dir="/none"), reports, fake_root)
    assert str(caught.value) == "/none: no network and no data"
    assert not (tmp_path / "experiments").exists()
