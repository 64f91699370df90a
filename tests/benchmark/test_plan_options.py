"""What a command asks for, checked before anything is trained or written."""

import dataclasses

import pytest
from fakes import repository
from fakes.fixtures import POINTS

from benchmark import plan as planning
from benchmark.errors import UserError
from benchmark.plan import Options, plan


@pytest.fixture
def options(fake_root, tmp_path):
    return repository.options(fake_root, tmp_path, experiment_name="first", num_tuning_trials=2)


def change(options, **values):
    return dataclasses.replace(options, **values)


def test_trials_are_numbered_from_1_and_take_the_points_in_order(options, fake_root, tmp_path):
    trials = plan(options, fake_root).trials
    folder = tmp_path / "experiments" / "first" / "quadratic_jax"
    assert [trial.number for trial in trials] == [1, 2]
    assert [trial.folder for trial in trials] == [folder / "trial_1", folder / "trial_2"]
    assert [trial.point for trial in trials] == POINTS
    assert not (tmp_path / "experiments").exists()


def test_indices_choose_trials_that_keep_their_numbers(options, fake_root):
    chosen = plan(change(options, hparam_start_index=1, hparam_end_index=2), fake_root).trials
    assert [(trial.number, trial.point) for trial in chosen] == [(2, POINTS[1])]


def test_settings_hold_what_a_finished_run_must_agree_in(options, fake_root):
    settings = plan(change(options, max_global_steps=9), fake_root).trials[0].settings
    assert settings["rng_seed"] == 5
    assert settings["max_global_steps"] == 9
    assert settings["workload.validation_target_value"] == 0.9
    assert settings["hyperparameters.learning_rate"] == 0.2
    assert settings["submission_path"] == "submissions/fast/jax/submission.py"
    absolute = change(options, submission_path=str(fake_root / options.submission_path))
    assert plan(change(absolute, max_global_steps=9), fake_root).trials[0].settings == settings


def test_self_tuning_has_one_trial_without_hyperparameters(options, fake_root):
    own = change(options, tuning_ruleset="self", tuning_search_space=None, num_tuning_trials=1)
    trials = plan(own, fake_root).trials
    assert [(trial.number, trial.point) for trial in trials] == [(1, None)]


def test_only_runs_that_set_targets_take_data_that_no_target_holds_for(options, fake_root):
    assert not plan(options, fake_root).workload.accepts_any_data
    setting = change(options, target_setting=True, max_global_steps=5)
    assert plan(setting, fake_root).workload.accepts_any_data


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"workload": "ogbg"}, "unknown workload 'ogbg'; allowed: quadratic"),
        ({"framework": "mxnet"}, "unknown --framework=mxnet; allowed: jax, pytorch"),
        ({"tuning_ruleset": "none"}, "unknown --tuning_ruleset=none; allowed: external, self"),
        ({"submission_path": "submissions/x/jax/submission.py"}, "allowed: submissions/fast/jax/"),
        ({"num_tuning_trials": 0}, "--num_tuning_trials=0; allowed: >= 1"),
        ({"num_tuning_trials": 3}, "fast.json: 2 points, fewer than --num_tuning_trials=3"),
        ({"max_global_steps": 0}, "--max_global_steps=0; allowed: >= 1"),
        ({"eval_every_steps": -1}, "--eval_every_steps=-1; allowed: >= 1"),
        ({"rng_seed": -1}, "--rng_seed=-1; allowed: 0 to 2**32 - 1"),
        ({"hparam_start_index": 3}, "--hparam_start_index=3; allowed: 0 to --num_tuning_trials=2"),
        ({"hparam_end_index": -1}, "--hparam_end_index=-1; allowed: 0 to"),
        ({"tuning_search_space": None}, "needs --tuning_search_space"),
        ({"tuning_search_space": "none.json"}, "none.json: No such file"),
        ({"tuning_ruleset": "self"}, "fast.json: not allowed with --tuning_ruleset=self"),
        (
            {"tuning_ruleset": "self", "tuning_search_space": None},
            "--num_tuning_trials=2; allowed with --tuning_ruleset=self: 1",
        ),
        ({"target_setting": True}, "give --max_global_steps"),
        ({"step_hint": 10}, "--step_hint=10 is for --target_setting only"),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_is_written(
    options, fake_root, tmp_path, values, told
):
    with pytest.raises(UserError) as caught:
        plan(change(options, **values), fake_root)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "experiments").exists()


def test_a_hyperparameter_that_the_submission_lacks(options, fake_root):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"learning_rate": 0.1, "momentum": 0.9}]')
    with pytest.raises(UserError) as caught:
        plan(change(options, num_tuning_trials=1), fake_root)
    assert str(caught.value).startswith(f"{space}, point 1: no hyperparameter 'momentum'; allowed")


def test_every_chosen_point_is_checked_with_its_values(options, fake_root, tmp_path):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('[{"delay": 0.1}, {"delay": -0.1}]')
    with pytest.raises(UserError) as caught:
        plan(options, fake_root)
    assert str(caught.value) == f"{space}, point 2: delay=-0.1 must not be negative"
    assert not (tmp_path / "experiments").exists()
    assert len(plan(change(options, hparam_end_index=1), fake_root).trials) == 1  # not chosen


def test_a_workload_without_batch_size(options, fake_root, monkeypatch):
    import_workload = planning.workloads_overrides.import_workload
    monkeypatch.setattr(
        planning.workloads_overrides, "import_workload", lambda *_: import_workload("quadratic", "")
    )
    with pytest.raises(UserError, match="no batch size for workload 'cubic'"):
        plan(change(options, workload="cubic"), fake_root)


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        (3, r"submissions/fast/jax/submission.py: the global batch size \(8\) has to be .* \(3"),
        (16, r"submissions/fast/jax/submission.py: the global batch size \(8\) has to be .* \(16"),
        (4, r"quadratic: the global eval batch size \(10\) has to be divisible by .* devices \(4"),
    ],
)
def test_devices_divide_both_batch_sizes(options, fake_root, monkeypatch, devices, told):
    kind = type(planning.backend.load("jax"))
    monkeypatch.setattr(kind, "num_devices", property(lambda _: devices))
    with pytest.raises(UserError, match=told):
        plan(options, fake_root)
    monkeypatch.setattr(kind, "num_devices", property(lambda _: 2))
    assert len(plan(options, fake_root).trials) == 2


def test_a_core_is_for_one_process(options, fake_root, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--cpu_core=0 keeps one process to a core, and torchrun"):
        plan(change(options, cpu_core=0), fake_root)
    assert plan(options, fake_root).trials


def test_step_hint_of_target_setting_changes_this_object_only(options, fake_root):
    setting = change(options, target_setting=True, max_global_steps=7, step_hint=7)
    planned = plan(setting, fake_root)
    assert planned.workload.step_hint == 7
    assert planned.trials[0].settings["workload.step_hint"] == 7
    assert type(planned.workload).__name__ == "QuadraticWorkload"
    assert plan(options, fake_root).workload.step_hint == 20


def test_ranges_depend_on_the_seed(options, fake_root):
    space = fake_root / "tuning_search_spaces" / "fast.json"
    space.write_text('{"learning_rate": {"min": 0.1, "max": 0.2, "scaling": "linear"}}')
    points = [trial.point for trial in plan(options, fake_root).trials]
    assert points == [trial.point for trial in plan(options, fake_root).trials]
    other = plan(change(options, rng_seed=6), fake_root).trials
    assert points != [trial.point for trial in other]


def test_arguments_say_the_same_as_the_options(options):
    from absl import flags

    values = flags.FlagValues()
    for field in dataclasses.fields(Options):
        if field.type in (bool, "bool"):
            flags.DEFINE_boolean(field.name, None, "", flag_values=values)
        elif "int" in str(field.type):
            flags.DEFINE_integer(field.name, None, "", flag_values=values)
        else:
            flags.DEFINE_string(field.name, None, "", flag_values=values)
    changed = change(options, overwrite=True, max_global_steps=3)
    values(["run.py", *changed.arguments()])
    assert Options(**values.flag_values_dict()) == changed
